"""Whether numbers have float32's seven digits."""

import numpy as np


def is_float32(numbers: np.ndarray) -> bool:
    """Whether numbers were computed in float32, whatever their dtype says now.

    Seven digits and no more; a few round numbers (0, ½, 3) prove nothing.
    """
    if numbers.dtype == np.float32:
        return True
    with np.errstate(all="ignore"):
        numbers = numbers.astype(np.float64)[np.isfinite(numbers)]
        seven_digits = numbers.astype(np.float32) == numbers
        mantissa = np.frexp(numbers)[0] * 2**12
    return bool(seven_digits.all() and (mantissa != np.round(mantissa)).any())
