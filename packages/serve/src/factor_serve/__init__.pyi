from .bundle import Bundle as Bundle
from .bundle import BundleError as BundleError
from .bundle import load_bundle as load_bundle
from .forecasts import forecast as forecast
from .forecasts import forecast_rows as forecast_rows
from .inputs import clean as clean
from .inputs import rows_of as rows_of
from .rows import Rows as Rows
