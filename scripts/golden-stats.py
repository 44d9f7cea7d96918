#!/usr/bin/env python3
"""Writes tests/golden/most-stats/student_t.csv: tails of Student's t distribution to 15 digits.

Needs mpmath and SciPy. mpmath computes the regularised incomplete beta function with 60 digits; SciPy must agree to 1e-9
wherever it does not underflow.

    python3 scripts/golden-stats.py > tests/golden/most-stats/student_t.csv
"""

import mpmath
from scipy import stats

mpmath.mp.dps = 60


def two_sided(t, df):
    x = mpmath.mpf(df) / (mpmath.mpf(df) + mpmath.mpf(t) ** 2)
    return mpmath.betainc(mpmath.mpf(df) / 2, mpmath.mpf(1) / 2, 0, x, regularized=True)


print("t,df,p_two_sided")
for df in (1.0, 1.7, 3.0, 12.3456, 47.5, 175.58928062306748, 1017.27298777, 24999.5, 120000.25):
    for t in (0.001, 0.3, 1.0, 1.6449, 1.75, 2.5, 6.0, 12.0, 25.0, 31.6, 37.0):
        p = two_sided(t, df)
        scipy = 2 * stats.t.sf(t, df)
        if scipy > 1e-290:
            assert abs(scipy / float(p) - 1) < 1e-9, (t, df, scipy, p)
        print(f"{t},{df},{mpmath.nstr(p, 16, min_fixed=0, max_fixed=0)}")
