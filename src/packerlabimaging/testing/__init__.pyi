from .engines import EngineContract as EngineContract
from .engines import make_tiny_job as make_tiny_job
from .readers import ReaderContract as ReaderContract
from .trials import TrialContract as TrialContract
