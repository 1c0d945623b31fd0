"""Quantities of a patient's table, their plausible range, and the units they are often mistaken for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """What values of a quantity can be in a living adult, and what other units would make of them.

    Args:
        low: Lowest plausible value, in `unit`.
        high: Highest plausible value, in `unit`.
        unit: What the column should be in.
        others: (unit, factor that turns it into `unit`).
    """

    low: float
    high: float
    unit: str
    others: tuple[tuple[str, float], ...] = ()


# Wide on purpose: outside of these a value is another unit or a slip, whatever the illness.
QUANTITIES = {
    "age": Quantity(0, 120, "years"),
    "heart_rate": Quantity(15, 350, "1/min", (("1/s", 60.0),)),
    "potassium": Quantity(1.2, 11, "mmol/L", (("mg/dL", 0.2558), ("µmol/L", 0.001))),
    "sodium": Quantity(90, 200, "mmol/L", (("mg/dL", 0.435),)),
    "calcium": Quantity(0.8, 5, "mmol/L", (("mg/dL", 0.2495),)),
    "creatinine": Quantity(10, 2500, "µmol/L", (("mg/dL", 88.42), ("mmol/L", 1000.0))),
    "haemoglobin": Quantity(20, 250, "g/L", (("g/dL", 10.0), ("mmol/L", 16.11))),
    "height": Quantity(40, 230, "cm", (("m", 100.0), ("mm", 0.1))),
    "weight": Quantity(1.5, 400, "kg", (("g", 0.001),)),
    "temperature": Quantity(25, 43, "°C"),
    "lvef": Quantity(5, 90, "%", (("fraction", 100.0),)),
}
