"""A simulated market with planted, known signals."""

from factor_data.simulate.config import MarketConfig
from factor_data.simulate.facts import stylised_facts
from factor_data.simulate.market import SimulatedMarket, simulate_market, write_market

__all__ = ["MarketConfig", "SimulatedMarket", "simulate_market", "stylised_facts", "write_market"]
