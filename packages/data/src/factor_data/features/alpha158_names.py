"""The 158 names in qlib's order, and the column of each rolling family: what the kernels write by."""

from __future__ import annotations

from factor_data.features.nested import WINDOWS

BAR_NAMES = ("KMID", "KLEN", "KMID2", "KUP", "KUP2", "KLOW", "KLOW2", "KSFT", "KSFT2")
PRICE_NAMES = ("OPEN0", "HIGH0", "LOW0", "VWAP0")
ROLLING_NAMES = (
    "ROC", "MA", "STD", "BETA", "RSQR", "RESI", "MAX", "MIN", "QTLU", "QTLD", "RANK", "RSV", "IMAX", "IMIN", "IMXD",
    "CORR", "CORD", "CNTP", "CNTN", "CNTD", "SUMP", "SUMN", "SUMD", "VMA", "VSTD", "WVMA", "VSUMP", "VSUMN", "VSUMD",
)  # fmt: skip
ALPHA158_NAMES = (
    *BAR_NAMES,
    *PRICE_NAMES,
    *(f"{name}{window}" for name in ROLLING_NAMES for window in WINDOWS),
)

# Their log(v + 1) knows the unit of the volume, and so the later splits that it is adjusted by; no other name does.
UNIT_DEPENDENT = tuple(f"CORR{window}" for window in WINDOWS)

# The column of the shortest window of each family; the other windows follow. CNTN, CNTD, SUMN, SUMD, VSUMN and VSUMD
# are written together with the family before them.
ROC, MA, STD, BETA, RSQR, RESI, MAX, MIN, QTLU, QTLD, RANK, RSV, IMAX, IMIN, IMXD, CORR, CORD = range(
    len(BAR_NAMES) + len(PRICE_NAMES), ALPHA158_NAMES.index("CNTP5"), len(WINDOWS)
)
CNTP, SUMP = ALPHA158_NAMES.index("CNTP5"), ALPHA158_NAMES.index("SUMP5")
VMA, VSTD, WVMA, VSUMP = range(ALPHA158_NAMES.index("VMA5"), ALPHA158_NAMES.index("VSUMN5"), len(WINDOWS))
