"""A process that decodes untrusted images: python -m service.predictions.pictures.decoder DESCRIPTOR.

The process receives images on the socket DESCRIPTOR, and answers each with a JPEG or with the problem. Before the first
image, it limits its memory, and makes the kernel forbid it to read other files, to write, and to open connections.
"""

import io
import math
import os
import resource
import socket
import sys
from contextlib import suppress
from functools import partial

from PIL import Image

from service.child_process import exit_at_once, lower_limits
from service.image_formats import FORMATS, to_rgb
from service.isolation import restrict_files, system_call_filter
from service.predictions.pictures.messages import (
    INVALID,
    OK,
    PictureRequest,
    UnreadablePicture,
    encode_answer,
    read_request,
)

MAX_PIXELS = 1 << 25  # RGB takes 4 bytes per pixel; a progressive JPEG takes 6 more
MAX_ADDRESS_SPACE = 768 << 20  # bytes
CPU_SECONDS = 10  # per image
MAX_TEXT = 200  # bytes of a problem


def make_jpeg(content: bytes, request: PictureRequest) -> bytes:
    """Return an image as a JPEG of at most `size` x `size` pixels. The JPEG has no metadata of the image.

    The EXIF orientation is ignored, as it is for models.

    Raises:
        ValueError: The image has too many pixels.
        Exception: A decoder may raise any error for damaged bytes.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"The image has {image.width} x {image.height} pixels. Expected at most {MAX_PIXELS:,}.")
        image.draft("RGB", (request.size, request.size))
        small = to_rgb(image)
        small.thumbnail((request.size, request.size))
    small.info.clear()  # otherwise, Pillow copies comments and other metadata
    output = io.BytesIO()
    subsampling = "4:2:0" if request.is_thumbnail else "4:4:4"
    small.save(output, "JPEG", quality=request.quality, subsampling=subsampling)
    return output.getvalue()


class InProcessDecoder:
    """Decodes images in the calling process, without limits on memory and time. For tests."""

    def make(self, content: bytes, request: PictureRequest) -> bytes:
        """Return an image as a JPEG; raise UnreadablePicture if it is damaged or has too many pixels."""
        try:
            return make_jpeg(content, request)
        except Exception as error:
            raise UnreadablePicture(str(error)) from error

    def stop(self) -> None:
        """Do nothing."""


def main() -> None:
    """Answer requests until the other end of the socket is closed or the memory is exhausted."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    Image.init()
    make_jpeg(_sample(), PictureRequest(8, 75, True))  # loads the plugins that Pillow loads on first use
    silence = os.open(os.devnull, os.O_WRONLY)
    _isolate()
    os.dup2(silence, sys.stderr.fileno())  # damaged files make libraries print warnings
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while _answer(channel):
            pass


def _answer(channel: socket.socket) -> bool:
    """Answer one request; return whether the process can answer more."""
    request, content = read_request(partial(os.read, channel.fileno()))
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_limit = math.ceil(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    try:
        answer = encode_answer(OK, make_jpeg(content, request))
    except MemoryError:
        channel.sendall(encode_answer(INVALID, b"Decoding the image takes too much memory."))
        return False
    except Exception as error:  # a decoder may raise any error for damaged bytes
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        answer = encode_answer(INVALID, text.encode(errors="replace")[:MAX_TEXT])
    channel.sendall(answer)
    return True


def _sample() -> bytes:
    sample = io.BytesIO()
    Image.new("RGB", (16, 16)).save(sample, "JPEG")
    return sample.getvalue()


def _isolate() -> None:
    """Limit the memory, and forbid all system calls that decoding does not need."""
    lower_limits({resource.RLIMIT_AS: MAX_ADDRESS_SPACE, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0})
    rules = system_call_filter()
    restrict_files()
    if rules is not None:
        rules.load()


if __name__ == "__main__":
    main()
    exit_at_once(0)
