"""Predictions files in the layouts of libraries, made by hand, and the answer of Errata to each.

The table in docs/how-to/upload-formats.md has one row for each file.
"""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import parquet


@dataclass(frozen=True)
class Images:
    """The images of a data set, in the row order by path, and the predicted classes."""

    names: Sequence[str]
    classes: Sequence[int]
    ids: Sequence[str]  # of all classes
    class_names: Sequence[str]  # of all classes

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Return the name and the class of each image."""
        return list(zip(self.names, self.classes, strict=True))

    @property
    def logits(self) -> np.ndarray:
        """Return (N, C) scores in which the predicted class is the best, with probability 1/2."""
        logits = np.full((len(self.names), len(self.ids)), -1.0)
        logits[np.arange(len(self.names)), list(self.classes)] = -1 + np.log(len(self.ids) - 1)
        return logits

    @property
    def probabilities(self) -> np.ndarray:
        """Return the softmax of the logits."""
        exponentials = np.exp(self.logits)
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class WildFile:
    """A file, and the answer to it."""

    source: str
    layout: str  # in Markdown
    write: Callable[[Images], bytes]
    assumed: str = ""  # the assumptions, in one line
    refused: str = ""  # the start of the error message; empty: accepted
    probability: float | None = None  # of each prediction

    @property
    def answer(self) -> str:
        """Return the answer for the documentation."""
        if self.refused:
            return f"Refused: {self.refused}"
        return f"Accepted. {self.assumed}".rstrip()


def _lines(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _csv(header: str, images: Images, line: Callable[[str, int], str]) -> bytes:
    return _lines(*([header] if header else []), *(line(name, index) for name, index in images.rows))


def _json(value: object, indent: int | None = None) -> bytes:
    return json.dumps(value, indent=indent).encode()


def _numpy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _parquet(**columns: object) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _top5(images: Images) -> np.ndarray:
    return np.array([[index, *((index + step) % 1000 for step in range(1, 5))] for index in images.classes])


def _pipeline(images: Images, index: int) -> list[dict[str, object]]:
    """Return the result of an image classification pipeline of transformers."""
    return [{"label": images.ids[index], "score": 0.5}, {"label": images.ids[(index + 1) % 1000], "score": 0.25}]


BY_PATH = "The rows are in the order --row-order path."
FIRST = "Of several classes of an image, the first is the prediction."
LOGITS = "The scores are logits, so the probabilities are their softmax."

FILES = (
    WildFile(
        "timm",
        "`results.csv` of `inference.py`: `filename,index,label,prob`, paths below the data folder",
        lambda images: _csv(
            "filename,index,label,prob",
            images,
            lambda name, index: f'n01440764/{name},{index},"{images.class_names[index]}",0.5',
        ),
        "The file's columns: 'filename' as the file name, 'index' as the predicted class, 'prob' as its probability. "
        "20 file names match by the end of the path, such as 'n01440764/{name}' for '{name}'.",
        probability=0.5,
    ),
    WildFile(
        "timm",
        "`results.csv` with `--topk 3`: lists as numpy prints them",
        lambda images: _csv(
            "filename,index,prob", images, lambda name, index: f'{name},[{index} 3 4],"[0.5 0.25 0.125]"'
        ),
        f"The file's columns: 'filename' as the file name, 'index' as the predicted class, 'prob' as its probability. "
        f"{FIRST}",
        probability=0.5,
    ),
    WildFile(
        "timm",
        "`results.json`: `{file: {index, label, prob}}`",
        lambda images: _json(
            {name: {"index": index, "label": images.class_names[index], "prob": 0.5} for name, index in images.rows}, 4
        ),
        "The file's keys: 'index' as the predicted class, 'prob' as its probability.",
        probability=0.5,
    ),
    WildFile(
        "timm",
        "`results.csv` with `--results-separate-col`: `index_0,index_1,prob_0,prob_1`",
        lambda images: _csv(
            "filename,index_0,index_1,prob_0,prob_1", images, lambda name, index: f"{name},{index},3,0.5,0.25"
        ),
        "The file's columns: 'filename' as the file name, 'index_0' as the predicted class, 'prob_0' as its "
        "probability.",
        probability=0.5,
    ),
    WildFile(
        "torchvision",
        "`index,class` with the number of each image in `ImageFolder`",
        lambda images: _lines("index,class", *(f"{row},{index}" for row, index in enumerate(images.classes))),
        "The file's columns: 'index' as the number of the image, 'class' as the predicted class. The images are "
        "numbered from 0 in the order --row-order path.",
    ),
    WildFile(
        "torchvision",
        "`path;pred` with absolute paths, separated by semicolons",
        lambda images: _csv("path;pred", images, lambda name, index: f"/data/imagenet/val/{name};{index}"),
        "The columns are separated by semicolons. The file's columns: 'path' as the file name, 'pred' as the predicted "
        "class. 20 file names match by the end of the path, such as '/data/imagenet/val/{name}' for '{name}'.",
    ),
    WildFile(
        "PyTorch",
        "`logits.npy`: float32 scores of shape (N, C)",
        lambda images: _numpy(images.logits.astype(np.float32)),
        f"{BY_PATH} {LOGITS}",
        probability=0.5,
    ),
    WildFile(
        "PyTorch",
        "`outputs.npz`: only `logits`, in float16",
        lambda images: _npz(logits=images.logits.astype(np.float16)),
        f"{BY_PATH} The file's arrays: 'logits' as the scores. {LOGITS}",
        probability=0.5,
    ),
    WildFile(
        "PyTorch",
        "`top5.npy`: class indices of shape (N, 5)",
        lambda images: _numpy(_top5(images)),
        f"{BY_PATH} {FIRST}",
    ),
    WildFile(
        "PyTorch",
        "`preds.pt` of `torch.save`",
        lambda _: _zip("archive/data.pkl", "archive/version"),
        refused="The file is a PyTorch pickle, for example of model weights.",
    ),
    WildFile(
        "Keras",
        "`results.csv` of `predict_generator` tutorials: `Filename,Predictions`",
        lambda images: _csv("Filename,Predictions", images, lambda name, index: f"{name},{images.ids[index]}"),
        "The file's columns: 'Filename' as the file name, 'Predictions' as the predicted class.",
    ),
    WildFile(
        "Keras",
        "`decode_predictions`: `{file: [[wnid, name, score], …]}`",
        lambda images: _json(
            {name: [[images.ids[index], "name", 0.5], ["n01440764", "tench", 0.25]] for name, index in images.rows}
        ),
        FIRST,
        probability=0.5,
    ),
    WildFile(
        "Keras",
        "`probs.npz`: only `probs`",
        lambda images: _npz(probs=images.probabilities.astype(np.float32)),
        f"{BY_PATH} The file's arrays: 'probs' as the scores.",
        probability=0.5,
    ),
    WildFile(
        "Keras",
        "`preds.npy` of `model.predict`, for other 10 classes",
        lambda images: _numpy(np.full((len(images.names), 10), 0.1, dtype=np.float32)),
        refused="The array has shape (20, 10). Expected (20, 1000), one column for each class of the data set.",
    ),
    WildFile(
        "Hugging Face",
        'JSONL: `{"image": …, "label": …}`',
        lambda images: _lines(*(json.dumps({"image": name, "label": index}) for name, index in images.rows)),
        "The file's keys: 'image' as the file name, 'label' as the predicted class.",
    ),
    WildFile(
        "Hugging Face",
        "JSON array of the same objects",
        lambda images: _json([{"image": name, "label": index} for name, index in images.rows], 2),
        "The file's keys: 'image' as the file name, 'label' as the predicted class.",
    ),
    WildFile(
        "Hugging Face",
        "pipeline: `{file: [{label, score}, …]}`",
        lambda images: _json({name: _pipeline(images, index) for name, index in images.rows}),
        FIRST,
        probability=0.5,
    ),
    WildFile(
        "Hugging Face",
        "pipeline of a model without `id2label`: `{file: {label: LABEL_7, score}}`",
        lambda images: _json({name: {"label": f"LABEL_{index}", "score": 0.5} for name, index in images.rows}),
        "The file's keys: 'label' as the predicted class, 'score' as its probability. A class such as LABEL_7 is the "
        "class with index 7.",
        probability=0.5,
    ),
    WildFile(
        "Hugging Face",
        "pipeline without file names: `[[{label, score}, …], …]`",
        lambda images: _json([_pipeline(images, index) for index in images.classes]),
        f"The JSON array has no file names; its values are in the order of the images. {FIRST} The images are numbered "
        "from 0 in the order --row-order path.",
        probability=0.5,
    ),
    WildFile(
        "Hugging Face",
        "`datasets` in Parquet: `image` struct with a path, `label`",
        lambda images: _parquet(image=[{"bytes": b"x", "path": name} for name in images.names], label=images.classes),
        "The file's columns: 'image' as the file name, 'label' as the predicted class.",
    ),
    WildFile(
        "Hugging Face",
        "Parquet: `file_name`, `logits` as a list column",
        lambda images: _parquet(file_name=images.names, logits=[*images.logits.astype(np.float32)]),
        "The file's columns: 'logits' as the predicted class. The predicted class is the one with the highest score. "
        f"{LOGITS}",
        probability=0.5,
    ),
    WildFile(
        "pandas",
        "`to_csv` of pipeline results, with the index: `,image,prediction`",
        lambda images: _csv(",image,prediction", images, lambda name, index: f'0,{name},"{_pipeline(images, index)}"'),
        f"The file's columns: 'image' as the file name. {FIRST}",
        probability=0.5,
    ),
    WildFile(
        "pandas",
        "`to_json`: `{column: {row: value}}`",
        lambda images: _json(
            {
                "filename": {str(row): name for row, name in enumerate(images.names)},
                "top1": {str(row): index for row, index in enumerate(images.classes)},
            }
        ),
        "The file's keys: 'filename' as the file name.",
    ),
    WildFile(
        "pandas",
        "`to_csv` with two columns of predictions: `file_name,pred,y_pred`",
        lambda images: _csv("file_name,pred,y_pred", images, lambda name, index: f"{name},{index},{index}"),
        refused="More than one column with predicted classes: 'pred', 'y_pred'. Keep one of them.",
    ),
    WildFile(
        "MLflow",
        "`eval_results_table.json`: `{columns, data}`",
        lambda images: _json(
            {"columns": ["image", "label", "prediction"], "data": [[name, 7, index] for name, index in images.rows]}
        ),
        "The file's keys: 'image' as the file name.",
    ),
    WildFile(
        "MLflow",
        'response of a model server: `{"predictions": […]}`',
        lambda images: _json({"predictions": list(images.classes)}),
        "The JSON array has no file names; its values are in the order of the images. The images are numbered from 0 "
        "in the order --row-order path.",
    ),
    WildFile(
        "FiftyOne",
        "`samples.json` of `FiftyOneDataset`",
        lambda images: _json(
            {
                "samples": [
                    {
                        "filepath": f"data/{name}",
                        "ground_truth": {"_cls": "Classification", "label": "tench"},
                        "predictions": {"_cls": "Classification", "label": images.ids[index], "confidence": 0.5},
                    }
                    for name, index in images.rows
                ]
            }
        ),
        "The file's keys: 'filepath' as the file name, 'predictions' as the predicted class. 20 file names match by "
        "the end of the path, such as 'data/{name}' for '{name}'.",
        probability=0.5,
    ),
    WildFile(
        "FiftyOne",
        "`labels.json` of `FiftyOneImageClassificationDataset`: `{classes, labels}`",
        lambda images: _json(
            {
                "classes": sorted(images.ids, reverse=True),
                "labels": {
                    _stem(name): sorted(images.ids, reverse=True).index(images.ids[index])
                    for name, index in images.rows
                },
            }
        ),
        "The classes are indices of the file's own list of class names. 20 file names match without the extension, "
        "such as '{stem}' for '{name}'.",
    ),
    WildFile(
        "COCO",
        "results: `[{image_id, category_id, score}]`, with names as IDs",
        lambda images: _json(
            [{"image_id": _stem(name), "category_id": index, "score": 0.5} for name, index in images.rows]
        ),
        "The file's keys: 'image_id' as the file name, 'category_id' as the predicted class, 'score' as its "
        "probability. 20 file names match without the extension, such as '{stem}' for '{name}'.",
        probability=0.5,
    ),
    WildFile(
        "COCO",
        "results with numbers as IDs",
        lambda images: _json(
            [{"image_id": 1000 + row, "category_id": index} for row, (_, index) in enumerate(images.rows)]
        ),
        refused="None of the 20 file names is in data set 'demo'.",
    ),
    WildFile(
        "COCO",
        "annotations: `{images, annotations, categories}`",
        lambda images: _json(
            {
                "images": [{"id": row, "file_name": name} for row, name in enumerate(images.names)],
                "annotations": [{"image_id": row, "category_id": index} for row, (_, index) in enumerate(images.rows)],
                "categories": [],
            }
        ),
        refused="The file contains COCO annotations, whose image IDs are numbers.",
    ),
    WildFile(
        "scripts",
        "two columns without a header, separated by tabs, with Windows paths",
        lambda images: _csv("", images, lambda name, index: f"D:\\imagenet\\{name}\t{index}"),
        "The columns are separated by tabs. The file has no header; its columns are the file name and the predicted "
        "class. 20 file names match by the end of the path, such as 'D:\\imagenet\\{name}' for '{name}'.",
    ),
    WildFile(
        "scripts",
        "`file_name,predicted_class`, the layout of this page",
        lambda images: _csv("file_name,predicted_class", images, lambda name, index: f"{name},{index}"),
    ),
)


def to_table(name: str) -> str:
    """Return the table of the documentation; `name` is the first image of the data set."""
    rows = [f"| {file.source} | {file.layout} | {_escape(format_answer(file.answer, name))} |" for file in FILES]
    return "\n".join(["| from | file | answer |", "| --- | --- | --- |", *rows])


def format_answer(text: str, name: str) -> str:
    """Insert the name of the first image into an answer."""
    return text.replace("{name}", name).replace("{stem}", _stem(name))


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
