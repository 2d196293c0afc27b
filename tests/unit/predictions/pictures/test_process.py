"""The processes that decode images: their answers, and what happens when they crash, hang, or are killed."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog
from errata.errors import TooBusy, Unavailable
from PIL import Image
from unit.predictions.pictures.pictures import decode, encode

from service.predictions.pictures import process
from service.predictions.pictures.decoder import make_jpeg
from service.predictions.pictures.messages import PictureRequest, UnreadablePicture
from service.predictions.pictures.process import DecoderPool, DecoderProcess

THUMBNAIL = PictureRequest(64, 80, is_thumbnail=True)
PICTURE = encode(Image.effect_noise((200, 100), 50), "PNG")
pytestmark = pytest.mark.processes
START = "import os, signal, socket, sys, time; channel = socket.socket(fileno=int(sys.argv[1])); channel.recv(9999)\n"


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    pool = DecoderPool(1)
    yield pool
    pool.stop()


@pytest.fixture
def decoder() -> Iterator[DecoderProcess]:
    decoder = DecoderProcess()
    yield decoder
    decoder.stop()


def pid_of(decoder: DecoderProcess) -> int:
    assert decoder._process is not None
    return decoder._process.pid


@pytest.fixture
def run_scripts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Make the next processes run scripts instead of the decoder; return their IDs."""

    def run(*scripts: str) -> list[int]:
        popen, remaining, pids = process.subprocess.Popen, list(scripts), []

        def start(arguments: list[str], **options: object) -> object:
            if remaining:
                arguments = [sys.executable, "-c", START + remaining.pop(0), arguments[-1]]
            child = popen(arguments, **options)
            pids.append(child.pid)
            return child

        monkeypatch.setattr(process.subprocess, "Popen", start)
        return pids

    return run


def test_a_process_makes_the_same_picture_as_a_call(pool: DecoderPool) -> None:
    assert pool.make(PICTURE, THUMBNAIL) == make_jpeg(PICTURE, THUMBNAIL)


def test_one_process_makes_many_pictures_also_after_damaged_ones(decoder: DecoderProcess) -> None:
    decoder.make(PICTURE, THUMBNAIL)
    first = pid_of(decoder)
    for content in (b"", b"\xff\xd8\xff damaged", PICTURE[:500]):
        with pytest.raises(UnreadablePicture):
            decoder.make(content, THUMBNAIL)

    assert decode(decoder.make(PICTURE, THUMBNAIL)).size == (64, 32)
    assert pid_of(decoder) == first


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_ends_between_two_images_is_replaced(decoder: DecoderProcess, number: int) -> None:
    decoder.make(PICTURE, THUMBNAIL)
    os.kill(pid_of(decoder), number)

    assert decode(decoder.make(PICTURE, THUMBNAIL)).size == (64, 32)


def test_an_image_whose_process_was_killed_is_tried_again(decoder: DecoderProcess, run_scripts) -> None:
    pids = run_scripts("os.kill(os.getpid(), signal.SIGKILL)")

    assert decode(decoder.make(PICTURE, THUMBNAIL)).size == (64, 32)
    assert len(pids) == 2


def test_an_image_that_crashes_two_processes_is_unreadable(decoder: DecoderProcess, run_scripts) -> None:
    pids = run_scripts(*["os.kill(os.getpid(), signal.SIGSEGV)"] * 2)

    with structlog.testing.capture_logs() as logs, pytest.raises(UnreadablePicture, match="SIGSEGV"):
        decoder.make(PICTURE, THUMBNAIL)

    assert [log["causes"] for log in logs] == [["SIGSEGV", "SIGSEGV"]]
    assert decode(decoder.make(PICTURE, THUMBNAIL)).size == (64, 32)
    assert len(pids) == 3


def test_an_image_that_takes_too_much_cpu_time_is_tried_once(decoder: DecoderProcess, run_scripts) -> None:
    pids = run_scripts("os.kill(os.getpid(), signal.SIGXCPU)")

    with pytest.raises(UnreadablePicture, match="SIGXCPU"):
        decoder.make(PICTURE, THUMBNAIL)
    assert len(pids) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "b'\\x07\\0\\0\\0\\x01x'",  # no such state
        "b'\\0\\xff\\xff\\xff\\xff'",  # 4 GiB
        "b'\\0\\0\\0\\0\\x05<svg>'",  # not a JPEG
    ],
)
def test_a_process_under_foreign_control_cannot_return_anything_else(
    decoder: DecoderProcess, run_scripts, answer: str
) -> None:
    run_scripts(*[f"channel.sendall({answer}); time.sleep(60)"] * 2)

    with pytest.raises(UnreadablePicture):
        decoder.make(PICTURE, THUMBNAIL)


def test_a_process_that_hangs_is_replaced(
    decoder: DecoderProcess, run_scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = run_scripts("time.sleep(600)")
    with monkeypatch.context() as patch:
        patch.setattr(process, "WALL_SECONDS", 0.5)
        with pytest.raises(Unavailable, match="too long"):
            decoder.make(PICTURE, THUMBNAIL)

    assert not Path(f"/proc/{pids[0]}").exists()
    assert decode(decoder.make(PICTURE, THUMBNAIL)).size == (64, 32)


def test_an_answer_that_trickles_does_not_extend_the_deadline(
    decoder: DecoderProcess, run_scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "WALL_SECONDS", 1.0)
    run_scripts("channel.sendall(b'\\0\\0\\0\\xff\\xff')\nwhile True: channel.sendall(b'x'); time.sleep(0.05)")

    with pytest.raises(Unavailable):  # the whole answer would take an hour
        decoder.make(PICTURE, THUMBNAIL)


def test_images_wait_for_a_free_process_until_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "WAIT_SECONDS", 0.2)
    pool = DecoderPool(1)
    with pool._queue.acquire("", lambda: False), pytest.raises(TooBusy):
        pool.make(PICTURE, THUMBNAIL)
    pool.stop()


def test_several_threads_share_the_processes() -> None:
    pool = DecoderPool(2)
    expected = make_jpeg(PICTURE, THUMBNAIL)
    with ThreadPoolExecutor(8) as threads:
        pictures = list(threads.map(lambda _: pool.make(PICTURE, THUMBNAIL), range(40)))
    pool.stop()

    assert pictures == [expected] * 40


def test_stopping_ends_the_processes_and_a_call_in_progress(decoder: DecoderProcess, run_scripts) -> None:
    pids = run_scripts("time.sleep(600)")
    errors: list[BaseException] = []

    def make() -> None:
        try:
            decoder.make(PICTURE, THUMBNAIL)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    while not pids:
        time.sleep(0.01)
    decoder.stop()
    thread.join(30)

    assert [type(error) for error in errors] == [Unavailable]
    assert not Path(f"/proc/{pids[0]}").exists()
    with pytest.raises(Unavailable, match="stopping"):
        decoder.make(PICTURE, THUMBNAIL)


def test_a_process_ends_with_its_service() -> None:
    service_end, decoder_end = socket.socketpair()
    child = process.subprocess.Popen(
        [sys.executable, "-m", process.DECODER, str(decoder_end.fileno())], pass_fds=[decoder_end.fileno()]
    )
    decoder_end.close()
    service_end.close()

    assert child.wait(60) == 0


def test_a_process_has_no_secrets(decoder: DecoderProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    decoder.make(PICTURE, THUMBNAIL)

    assert b"AWS" not in Path(f"/proc/{pid_of(decoder)}/environ").read_bytes()
