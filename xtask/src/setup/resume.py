"""Continues a download: python3 resume.py URL FILE. Exit code 0 says that FILE has the announced length.

Proxies come from the environment, as with pip; so does the certificates' file, which pip calls otherwise.
"""
import os, ssl, sys, time, urllib.error, urllib.request

url, path = sys.argv[1:]
cafile = next((os.environ[name] for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE") if os.environ.get(name)), None)
context = ssl.create_default_context(cafile=cafile)


def fetch():
    """One request for what is missing; whether that is now nothing."""
    have = os.path.getsize(path) if os.path.exists(path) else 0
    # Compressed on the way, the bytes would not count as those of the file.
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={have}-"}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            return True  # Nothing follows; the digest tells whether it is the right file.
        raise
    with answer:
        continues = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        start = have if continues else 0
        if answer.status == 206 and not continues:
            raise OSError("the server sent another part than the one asked for")
        total = start + int(answer.headers["Content-Length"])
        print(f"{os.path.basename(path)}: from byte {start:,} of {total:,}", flush=True)
        with open(path, "ab" if continues else "wb") as file:
            while block := answer.read(1 << 20):
                file.write(block)
    return os.path.getsize(path) == total


attempts = 5
for attempt in range(attempts):
    try:
        if fetch():
            sys.exit(0)
        problem = "the connection ended early"
    except OSError as error:
        problem = error
    print(f"{os.path.basename(path)}: {problem}", file=sys.stderr)
    if isinstance(problem, urllib.error.HTTPError) and problem.code < 500 or attempt + 1 == attempts:
        break
    time.sleep(2**attempt)
sys.exit(1)
