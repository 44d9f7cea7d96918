//! Statistics. Pure; every function names its source and is held against SciPy or statsmodels.
