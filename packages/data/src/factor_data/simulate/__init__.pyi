from .config import MarketConfig as MarketConfig
from .facts import stylised_facts as stylised_facts
from .market import SimulatedMarket as SimulatedMarket
from .market import simulate_market as simulate_market
from .market import write_market as write_market
