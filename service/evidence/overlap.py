"""Overlapping classes: ImageNet's pairs of classes for the same thing (Peychev et al. 2023), each with a reason."""

import numpy as np

from service.domain import NUM_CLASSES, Mask

# (targets, predictions that count as right, both ways?, why)
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


def overlap_matrix() -> Mask:
    """Return which prediction counts as right for which target, shape (C, C) [target, prediction]."""
    matrix = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=bool)
    for targets, predictions, both_ways, _ in _PAIRS:
        matrix[np.ix_(targets, predictions)] = True
        if both_ways:
            matrix[np.ix_(predictions, targets)] = True
    np.fill_diagonal(matrix, False)
    return matrix


def why_overlapping(target: int, predicted: int) -> str:
    """Return the sentence that says why the prediction counts as right; empty where it doesn't."""
    for targets, predictions, both_ways, sentence in _PAIRS:
        one_way = target in targets and predicted in predictions
        if target != predicted and (one_way or (both_ways and target in predictions and predicted in targets)):
            return sentence
    return ""
