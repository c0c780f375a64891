"""The look of the HTML report: number formats, style sheet and page script."""

from __future__ import annotations

import html
import math

DASH = "–"
MINUS = "−"


def esc(value: object) -> str:
    """Return a value as text that is safe inside HTML and inside a quoted attribute."""
    return html.escape(str(value), quote=True)


def number(value: float | None, digits: int = 4, *, sign: bool = True) -> str:
    """Return a number with fixed digits and its sign; an en dash when it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    rounded = round(float(value), digits) + 0.0
    return format(rounded, f"{'+' if sign else ''}.{digits}f").replace("-", MINUS)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as percent; an en dash when it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{number(100.0 * value, digits, sign=False)} %"


def plain(value: float | None) -> str:
    """Return a number in four significant digits, large ones in full; an en dash when missing or not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    return format(float(value), ".4g" if abs(value) < 1e4 else ",.0f").replace("-", MINUS)


CSS = """
:root{--bg:#fff;--panel:#f5f7fa;--text:#18202b;--soft:#5a6675;--line:#dde3ea;--grid:#e6eaf0;--link:#1f64ad;
--pass:#0b6b50;--pass-bg:#dff3ec;--fail:#a8241c;--fail-bg:#fde6e2;--warn:#7a5200;--warn-bg:#fff0cc;
--stack:#d55e00;--model:#2f7fd0;--floor:#8b95a3}
@media screen and (prefers-color-scheme:dark){:root{--bg:#10151c;--panel:#19212b;--text:#e6ebf1;
--soft:#9aa7b6;--line:#2b3644;--grid:#26303c;--link:#78b4f5;--pass:#6fdcb5;--pass-bg:#0f3a2d;
--fail:#ff9c8f;--fail-bg:#4a1915;--warn:#ffd479;--warn-bg:#453206;--stack:#f0803a;--model:#5aa2ea;--floor:#7c8796}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1100px;padding:0 20px 64px;background:var(--bg);color:var(--text);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
header{padding-top:36px}
h1{margin:0;font-size:28px;line-height:1.2;letter-spacing:-.02em;overflow-wrap:anywhere}
h2{margin:0 0 12px;font-size:20px;letter-spacing:-.01em}
h3{margin:22px 0 8px;font-size:13px;color:var(--soft);text-transform:uppercase;letter-spacing:.06em}
.subtitle{margin:4px 0 20px;color:var(--soft);overflow-wrap:anywhere}
.verdict{display:flex;gap:14px;align-items:center;padding:18px 20px;border-radius:12px;font-size:20px;
line-height:1.3;overflow-wrap:anywhere;-webkit-print-color-adjust:exact;print-color-adjust:exact;color:#fff}
.verdict strong{min-width:0}
.verdict .mark{flex:none;width:34px;height:34px;border-radius:50%;background:rgba(255,255,255,.22);
display:grid;place-items:center;font-weight:700}
.verdict.pass{background:#0b7a5b}.verdict.fail{background:#b3261e}.verdict.warn{background:#8a5a00}
.summary{margin:18px 0 22px;font-size:17px;max-width:80ch;overflow-wrap:anywhere}
nav{position:sticky;top:0;z-index:5;display:flex;gap:4px;overflow-x:auto;margin:0 -20px;padding:8px 20px;
background:var(--bg);border-bottom:1px solid var(--line);scrollbar-width:none}
nav::-webkit-scrollbar{display:none}
nav a{flex:none;padding:4px 10px;border-radius:999px;color:var(--soft);text-decoration:none;font-size:13px}
nav a:hover,nav a.here{background:var(--panel);color:var(--text)}
section{padding-top:34px;scroll-margin-top:24px}
.note{margin:10px 0;color:var(--soft);font-size:13.5px;max-width:90ch;overflow-wrap:anywhere}
.scroll{overflow-x:auto;background:var(--bg);border:1px solid var(--line);border-radius:10px}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:7px 8px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line);
background-clip:padding-box}
tbody tr:last-child>*{border-bottom:0}
thead th{background:var(--panel);color:var(--soft);font-weight:600;font-size:12px}
.num{text-align:right}
tbody th{position:sticky;left:0;background:var(--bg);font-weight:500;z-index:1}
thead th:first-child{position:sticky;left:0;z-index:2}
td.wrap{white-space:normal;min-width:220px}
td.bar{padding-top:0;padding-bottom:0}
tr.stack>*{font-weight:650}tr.floor>*{color:var(--soft)}tr.floor b{font-weight:500}
table.heat{width:auto}.scroll:has(table.heat){width:fit-content;max-width:100%}
table.heat td,table.heat thead .num{text-align:center;
-webkit-print-color-adjust:exact;print-color-adjust:exact}
.pill{display:inline-block;padding:0 8px;border-radius:999px;font-size:11.5px;font-weight:600;
line-height:19px;background:var(--panel);color:var(--soft)}
.pill.pass{background:var(--pass-bg);color:var(--pass)}.pill.fail{background:var(--fail-bg);color:var(--fail)}
.pill.stack{background:none;box-shadow:inset 0 0 0 1px var(--stack);color:var(--stack)}
.interval{display:block}.interval .zero{stroke:var(--soft);stroke-dasharray:2 2}
.interval .range{stroke:var(--model);stroke-width:5;stroke-linecap:round;opacity:.45}
.interval circle{fill:var(--model)}
.stack .range{stroke:var(--stack)}.stack circle{fill:var(--stack)}
.floor .range{stroke:var(--floor)}.floor circle{fill:var(--floor)}
.share{display:block;width:150px;height:8px;border-radius:4px;background:var(--grid);overflow:hidden}
.share i{display:block;height:100%;background:var(--model);border-radius:4px}
.share,.share i{-webkit-print-color-adjust:exact;print-color-adjust:exact}
.picker{display:flex;flex-wrap:wrap;gap:6px;margin:10px 0}
button{font:inherit;font-size:13px;color:var(--soft);background:none;border:1px solid var(--line);
border-radius:999px;padding:3px 12px;cursor:pointer;max-width:100%;overflow-wrap:anywhere}
.picker button[aria-pressed=true]{background:var(--text);border-color:var(--text);color:var(--bg)}
.chart{width:100%;height:400px}
.legend{display:flex;flex-wrap:wrap;gap:4px 6px;margin-top:4px}
.legend button{border:0;padding:2px 8px;display:inline-flex;align-items:center;gap:6px;color:var(--text)}
.legend button[aria-pressed=false]{opacity:.4;text-decoration:line-through}
.legend svg{flex:none}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:10px;margin:0}
.facts div{background:var(--panel);border-radius:10px;padding:10px 14px;min-width:0}
.facts .wide{grid-column:1/-1}
dt{color:var(--soft);font-size:12px}dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
@media (max-width:640px){body{padding:0 14px 40px}header{padding-top:22px}h1{font-size:23px}
nav{margin:0 -14px;padding:8px 14px}.verdict{font-size:17px;padding:14px}.summary{font-size:16px}
.chart{height:310px}tbody th{white-space:normal}tbody th .pill{display:table}
table.results tbody th{box-shadow:1px 0 var(--line)}
.facts{grid-template-columns:repeat(auto-fill,minmax(140px,1fr))}}
@page{margin:14mm}
@media print{nav,.picker{display:none}body{max-width:none;font-size:11px;padding:0}section{padding-top:18px}
.scroll{overflow:visible;border:0}table{font-size:9px}thead th{font-size:8px}
th,td{padding:3px 4px}.pill{font-size:8px}
.summary{font-size:13px}tr,.chart,.verdict,.facts div{break-inside:avoid}h2,h3,.note{break-after:avoid}
td.wrap{min-width:0}.chart{height:300px}.legend button{padding:0 4px;font-size:10px}.note{font-size:10.5px}
.interval{width:90px}tbody th,thead th:first-child{position:static}}
"""

SCRIPT = """
(function(){"use strict";
var specs=JSON.parse(document.getElementById("report-data").textContent),state={},printing=false;
var dark=window.matchMedia("(prefers-color-scheme: dark)");
function safe(t){return t.replace(/&/g,"&amp;").replace(/</g,"&lt;").replace(/>/g,"&gt;")}
function colors(){return dark.matches&&!printing?
{text:"#c6d0db",grid:"#26303c",zero:"#56657a",hover:"#19212b",line:"#2b3644"}:
{text:"#47525f",grid:"#e6eaf0",zero:"#8b95a3",hover:"#ffffff",line:"#dde3ea"}}
function draw(spec){
var now=state[spec.id],view=spec.views[now.view],c=colors(),box=document.getElementById(spec.id);
var narrow=box.clientWidth<560;
var traces=view.lines.map(function(l){return{type:"scatter",mode:"lines",x:view.dates,y:l.y,name:safe(l.name),
visible:!now.hidden[l.name],connectgaps:false,line:{color:l.color,width:l.width,dash:l.dash}}});
traces.reverse();
var axis={gridcolor:c.grid,zerolinecolor:c.zero,linecolor:c.line,automargin:true,fixedrange:narrow};
Plotly.react(box,traces,{autosize:!printing,width:printing?680:undefined,height:printing?300:undefined,
paper_bgcolor:"rgba(0,0,0,0)",plot_bgcolor:"rgba(0,0,0,0)",showlegend:false,
font:{family:"system-ui,-apple-system,Segoe UI,Roboto,sans-serif",size:narrow?11:12,color:c.text},
margin:{l:narrow?44:58,r:8,t:12,b:34},hovermode:narrow?"closest":"x unified",
hoverlabel:{bgcolor:c.hover,bordercolor:c.line,font:{color:c.text,size:12},namelength:24},
xaxis:Object.assign({showgrid:false,nticks:narrow?4:9},axis),
yaxis:Object.assign({title:narrow?undefined:{text:spec.title,standoff:12},tickformat:"+.2~f",
hoverformat:"+.4f",zeroline:true,zerolinewidth:1.5},axis)},
{responsive:true,displaylogo:false,displayModeBar:false,plotlyServerURL:""});}
function legend(spec){
var now=state[spec.id],box=document.getElementById(spec.id+"-legend");box.textContent="";
spec.views[now.view].lines.forEach(function(l){
var b=document.createElement("button"),dash={dash:"6 3",dot:"2 3"}[l.dash]||"";b.type="button";
b.innerHTML='<svg width="22" height="8" aria-hidden="true"><line x1="0" x2="22" y1="4" y2="4" '+
'stroke="'+l.color+'" stroke-width="'+Math.max(l.width,2)+'" stroke-dasharray="'+dash+'"/></svg>';
b.appendChild(document.createTextNode(l.name));
b.setAttribute("aria-pressed",String(!now.hidden[l.name]));
b.addEventListener("click",function(){now.hidden[l.name]=!now.hidden[l.name];
b.setAttribute("aria-pressed",String(!now.hidden[l.name]));draw(spec)});box.appendChild(b)})}
function all(){specs.forEach(draw)}
specs.forEach(function(spec){state[spec.id]={view:0,hidden:Object.create(null)};draw(spec);legend(spec);
var buttons=document.querySelectorAll('.picker[data-chart="'+spec.id+'"] button');
buttons.forEach(function(b){b.addEventListener("click",function(){
buttons.forEach(function(o){o.setAttribute("aria-pressed",String(o===b))});
state[spec.id].view=Number(b.dataset.view);draw(spec);legend(spec)})})});
dark.addEventListener("change",all);
window.addEventListener("beforeprint",function(){printing=true;all()});
window.addEventListener("afterprint",function(){printing=false;all()});
var links=document.querySelectorAll("nav a"),nav=document.querySelector("nav");
function here(){var found=links[0];links.forEach(function(a){
var s=document.getElementById(a.getAttribute("href").slice(1));
if(s&&s.getBoundingClientRect().top<120)found=a});
links.forEach(function(a){a.classList.toggle("here",a===found)});
if(found)nav.scrollLeft=found.offsetLeft-nav.clientWidth/2+found.offsetWidth/2}
window.addEventListener("scroll",here,{passive:true});here();
})();
"""
