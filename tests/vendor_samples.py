"""Three bars as vendors write them: what the tests of the readers read, and the fuzzer spoils."""

from __future__ import annotations

DAYS = ["2024-01-02", "2024-01-03", "2024-01-04"]
MS = [1704153600000, 1704157200000, 1704160800000]  # 2024-01-02 from midnight in UTC, hour by hour

# vendor -> name of the file -> its text; each holds closes 10, 11, 12 of one or two symbols
CLOSES = (10, 11, 12)


def rows(stamps: list[str] | list[int], line: str, symbols: tuple[str, ...] = ("",)) -> str:
    """A line per stamp and symbol, with the close and its neighbours filled in."""
    return "".join(
        line.format(at=at, p=p, up=p + 1, down=p - 1, symbol=symbol) + "\n"
        for at, p in zip(stamps, CLOSES, strict=True)
        for symbol in symbols
    )


FILES = {
    "yfinance, one ticker": {
        "AAPL.csv": "Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n"
        "2024-01-02,10,11,9,10,5\n2024-01-03,11,12,10,11,6\n2024-01-04,12,13,11,12,7\n"
    },
    "yfinance, many tickers": {
        "prices.csv": "Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume\n"
        "Ticker,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT\nDate,,,,,,,,,,\n"
        "2024-01-02,10,,11,,9,,10,,5,\n2024-01-03,11,20,12,21,10,19,11,20,6,8\n2024-01-04,12,21,13,22,11,20,12,21,7,9\n"
    },
    "yfinance, by ticker": {
        "prices.csv": "Ticker,AAPL,AAPL,AAPL,AAPL,AAPL\nPrice,Open,High,Low,Close,Volume\nDatetime,,,,,\n"
        "2024-01-02 09:30:00-05:00,10,11,9,10,5\n2024-01-03 09:30:00-05:00,11,12,10,11,6\n"
        "2024-01-04 09:30:00-05:00,12,13,11,12,7\n"
    },
    "yfinance, history": {
        "AAPL.csv": "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n"
        "2024-01-02 00:00:00-05:00,10,11,9,10,5,0,0\n2024-01-03 00:00:00-05:00,11,12,10,11,6,0.2,0\n"
        "2024-01-04 00:00:00-05:00,12,13,11,12,7,0,0\n"
    },
    "akshare": {
        "hist.csv": "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率\n"
        "2024-01-02,AAPL,10,10,11,9,5,50,1,0,0,0.1\n2024-01-03,AAPL,11,11,12,10,6,66,1,10,1,0.1\n"
        "2024-01-04,AAPL,12,12,13,11,7,84,1,9,1,0.1\n"
    },
    "tushare, newest first": {
        "daily.csv": "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount\n"
        "AAPL,20240104,12,13,11,12,11,1,9,7,84\nAAPL,20240103,11,12,10,11,10,1,10,6,66\nAAPL,20240102,10,11,9,10,10,0,0,5,50\n"
    },
    "baostock": {
        "daily.csv": "date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,tradestatus,pctChg,isST\n"
        "2024-01-02,AAPL,10,11,9,10,10,5,50,3,0.1,1,0,0\n2024-01-03,AAPL,11,12,10,11,10,6,66,3,0.1,1,10,0\n"
        "2024-01-04,AAPL,12,13,11,12,11,7,84,3,,0,9,0\n"
    },
    "baostock, minutes": {
        "minutes.csv": "date,time,code,open,high,low,close,volume,amount,adjustflag\n"
        "2024-01-02,20240102093500000,AAPL,10,11,9,10,5,50,3\n2024-01-02,20240102094000000,AAPL,11,12,10,11,6,66,3\n"
        "2024-01-02,20240102094500000,AAPL,12,13,11,12,7,84,3\n"
    },
    "binance, no names, ms": {"AAPL-1h-2024-01.csv": rows(MS, "{at},{p},{up},{down},{p},5,{at},50,9,2,20,0")},
    "binance, names, us, two months": {
        f"AAPL-1h-202{year}-01.csv": "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
        "taker_buy_volume,taker_buy_quote_volume,ignore\n" + lines
        for year, lines in (
            ("4", f"{MS[0]},10,11,9,10,5,{MS[0]},50,9,2,20,0\n"),
            ("5", f"{MS[1]}000,11,12,10,11,6,{MS[1]}999,66,9,2,20,0\n{MS[2]}000,12,13,11,12,7,{MS[2]}9,84,9,2,20,0\n"),
        )
    },
    "stooq": {"aapl.csv": "Date,Open,High,Low,Close,Volume\n" + rows(DAYS, "{at},{p},{up},{down},{p},5")},
    "stooq, bulk": {
        "aapl.us.csv": "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
        "AAPL.US,5,20240102,153000,10,11,9,10,5,0\nAAPL.US,5,20240102,153500,11,12,10,11,6,0\n"
        "AAPL.US,5,20240102,154000,12,13,11,12,7,0\n"
    },
    "kronos": {
        "09988.csv": "timestamps,open,close,high,low,volume,amount\n2019/11/26 9:35,10,10,12,9,500,0\n"
        "2019/11/26 9:40,11,11,12,10,400,0\n2019/11/26 10:05,12,12,12,10,400,0\n"
    },
    "kronos, prices alone": {
        "09988.csv": "timestamps,open,close,high,low\n2019/11/26 9:35,10,10,12,9\n2019/11/26 9:40,11,11,12,10\n"
        "2019/11/26 10:05,12,12,12,10\n"
    },
    "ccxt": {"BTC-USDT.csv": "timestamp,open,high,low,close,volume\n" + rows(MS, "{at},{p},{up},{down},{p},5")},
    "alpaca": {
        "bars.csv": "symbol,timestamp,open,high,low,close,volume,trade_count,vwap\n"
        + rows(DAYS, "AAPL,{at} 05:00:00+00:00,{p},{up},{down},{p},5,3,{p}")
    },
    "alpaca, raw": {"AAPL.csv": "t,o,h,l,c,v,n,vw\n" + rows(DAYS, "{at}T05:00:00Z,{p},{up},{down},{p},5,3,{p}")},
    "combined with a ticker": {
        "all.csv": "date,ticker,open,high,low,close,volume\n"
        + rows(DAYS, "{at},{symbol},{p},{up},{down},{p},5", ("AAPL", "MSFT"))
    },
    "semicolons and a comment": {
        "AAPL.csv": "# exported\n\nDate;Open;High;Low;Close;Volume\n" + rows(DAYS, "{at};{p};{up};{down};{p};5")
    },
}  # fmt: skip
