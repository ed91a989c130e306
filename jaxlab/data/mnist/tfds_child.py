"""What runs in a process of its own to fetch MNIST by tensorflow-datasets, without TensorFlow.

    python -m jaxlab.data.mnist.tfds_child REQUEST

Of its own because TFDS retries for minutes where there is no network, and one Ctrl-C does not
end it: the process that started this one can. REQUEST is JSON (see `from_tfds`); the answer is
one line of JSON on standard output, {"files": {name: path}} or {"failed": reason}. It downloads
into the working folder, which has to be new: TFDS does not verify again what is there already.
"""

import json
import os
import sys
import threading
import warnings

CONNECT_SECONDS, READ_SECONDS, PROBE_SECONDS = 3, 3, 4


class Refused(Exception):
    """Why nothing can be fetched, in words of ours."""


def main() -> None:
    request = json.loads(sys.argv[1])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _answer({"files": _fetch(**request)})
    except Refused as error:
        _answer({"failed": str(error)})
    except Exception as error:
        # TFDS, requests and etils raise what they like; all of it means that nothing was fetched.
        reason = " ".join(str(error).split())[:400]
        _answer({"failed": f"{type(error).__name__}: {reason}"})


def _fetch(files: dict[str, tuple[str, int]], manual: str | None, base: str | None) -> dict:
    """Where each of `files` (name of the .gz: its sha256 and size) lies after TFDS has fetched it.

    manual: TFDS's manual_dir. base: instead of the registered addresses, this one and the name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core.download.checksums import UrlInfo

    tfds.disable_progress_bar()
    registered = tfds.builder_cls("mnist").url_infos
    # By checksum: some releases register other sets under the same file names.
    info_of = {info.checksum: (url, info) for url, info in registered.items()}
    urls, infos = {}, {}
    for name, (sha256, size) in files.items():
        if base is not None:
            url, info = f"{base}/{name}", UrlInfo(size=size, checksum=sha256, filename=name)
        elif sha256 in info_of:
            url, info = info_of[sha256]
        else:
            raise Refused(f"this release of TFDS registers another {name}")
        urls[name], infos[url] = url, info
    missing = [url for name, url in urls.items() if not manual or not _is_file(manual, name)]
    if missing:
        _probe(missing[0])
    manager = tfds.download.DownloadManager(
        download_dir=os.getcwd(),
        manual_dir=manual,
        url_infos=infos,
        dataset_name="mnist",
        force_checksums_validation=True,
    )
    return {name: str(path) for name, path in manager.download(urls).items()}


def _is_file(folder: str, name: str) -> bool:
    return os.path.isfile(os.path.join(folder, name))


def _probe(url: str) -> None:
    """Asks for one file's header, so that no network is known in seconds."""
    import requests

    # A name may stand for many hosts, each with a timeout of its own: this one is for all.
    clock = _after(PROBE_SECONDS, f"no answer from {url} within {PROBE_SECONDS} seconds")
    try:
        response = requests.head(url, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=True)
    except requests.Timeout as error:
        raise Refused(f"no answer from {url} within {READ_SECONDS} seconds") from error
    except requests.ConnectionError as error:
        cause = getattr(error.args[0] if error.args else None, "reason", error)
        raise Refused(f"no connection to {url} ({_last_words(cause)})") from error
    clock.cancel()
    # Some servers and proxies refuse HEAD itself; that says nothing about the file.
    if response.status_code >= 400 and response.status_code not in (405, 501):
        raise Refused(f"{url} answers {response.status_code} {response.reason}")


def _last_words(error: object) -> str:
    """Why, without the names of objects that urllib3 puts in front."""
    return str(error).rpartition("): ")[2]


def _after(seconds: float, reason: str) -> threading.Timer:
    def end() -> None:
        _answer({"failed": reason})

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


def _end_with_parent() -> None:
    """The parent holds the other end of standard input: its end means that the parent is gone."""
    sys.stdin.buffer.read()
    os._exit(1)


_once = threading.Lock()


def _answer(answer: dict) -> None:
    _once.acquire()  # never released: the first answer is the last
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    # TFDS's threads would keep the process alive until their retries are through.
    os._exit(0)


if __name__ == "__main__":
    main()
