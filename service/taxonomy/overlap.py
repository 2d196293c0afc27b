"""Overlapping classes: pairs of ImageNet classes for the same kind of object (Peychev et al. 2023), with reasons."""

from itertools import product

# (targets, predictions that count as correct, symmetric, reason)
_PAIRS: tuple[tuple[tuple[int, ...], tuple[int, ...], bool, str], ...] = (
    (
        (249, 250),
        (248,),
        False,
        "Malamutes and Siberian huskies are sled dogs; the class 'Eskimo dog, husky' covers both.",
    ),
    ((836,), (837,), True, "'Sunglass' and 'sunglasses' name the same pair of dark spectacles."),
    ((385, 386), (101,), False, "Indian and African elephants with tusks are tuskers as well."),
    ((504,), (968,), False, "A coffee mug is a kind of cup."),
    ((638,), (639,), True, "'Maillot' and 'maillot, tank suit' are two names of the one-piece swimsuit."),
    ((657,), (744,), True, "A missile and a projectile are the same rocket-like weapon in these photographs."),
    ((620,), (681,), True, "'Laptop' and 'notebook' are the same portable computer."),
    ((664,), (782,), True, "A monitor and a screen are the same display."),
    ((482,), (848,), False, "A cassette player that also records is a tape player."),
    (
        (356, 357, 358, 359),
        (356, 357, 358, 359),
        True,
        "Weasel, mink, polecat and ferret look alike and were labeled interchangeably.",
    ),
    ((435,), (876,), False, "A bathtub is a tub; ImageNet has a class for each word."),
)


def overlap_reasons() -> dict[tuple[int, int], str]:
    """Return the reason of each pair (target, prediction that counts as correct)."""
    reasons: dict[tuple[int, int], str] = {}
    for targets, predictions, symmetric, reason in _PAIRS:
        for target, predicted in product(targets, predictions):
            if target != predicted:
                reasons[target, predicted] = reason
                if symmetric:
                    reasons.setdefault((predicted, target), reason)
    return reasons
