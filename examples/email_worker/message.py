"""From a row of the recipients' file to the mail that goes over the wire."""

from __future__ import annotations

import csv
import pathlib
import string
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import attrs

HERE = pathlib.Path(__file__).parent
ID_DOMAIN = "example.org"


@attrs.frozen
class Email:
    """One row of the file, and so the arguments of one task."""

    to: str
    name: str
    subject: str
    note: str


def read_recipients(path: pathlib.Path = HERE / "recipients.csv") -> list[Email]:
    """Read all rows, good and bad: what cannot be delivered, the server says."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Email(**row) for row in csv.DictReader(file)]


@attrs.frozen
class Template:
    """A message with `$name`, `$subject` and `$note` still open."""

    sender: str
    sender_name: str
    subject: string.Template
    body: string.Template

    @classmethod
    def read(cls, path: pathlib.Path = HERE / "message.txt") -> Template:
        """Read header lines, an empty line, and the text."""
        head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
        headers = dict(line.split(": ", 1) for line in head.splitlines())
        return cls(
            sender=headers["From"],
            sender_name=headers["From-Name"],
            subject=string.Template(headers["Subject"]),
            body=string.Template(body),
        )

    def message(self, email: Email, task_id: str) -> EmailMessage:
        """
        Fill in *email*.

        The Message-ID comes from the task, so every delivery of one task has
        the same one, and the receiving side can tell a repeated mail.
        """
        message = EmailMessage(policy=SMTP)
        message["Message-ID"] = f"<{task_id}@{ID_DOMAIN}>"
        message["From"] = _address(self.sender_name, self.sender)
        message["To"] = _address(email.name, wire_address(email.to))
        subject = self.subject.substitute(subject=_one_line(email.subject))
        message.set_raw("Subject", _encoded("Subject", subject))
        message.set_content(self.body.substitute(name=_one_line(email.name), note=email.note))
        return message


def task_of(message_id: str) -> str:
    """Give the task id in a Message-ID of `Template.message`."""
    return message_id.removeprefix("<").removesuffix(f"@{ID_DOMAIN}>")


def wire_address(address: str) -> str:
    """
    Give *address* as SMTP sends it: the domain in its ASCII form.

    What is no address stays as it is, for the server to refuse.
    """
    local, at, domain = address.strip().rpartition("@")
    try:
        return f"{local}{at}{domain.encode('idna').decode('ascii')}"
    except UnicodeError:
        return address.strip()


def _encoded(header: str, text: str) -> str:
    # `message[header] = text` loses spaces between encoded words (seen with
    # CPython 3.11.7, 3.12.1 and 3.13.0) and decodes text that only looks encoded.
    plain = text.isascii() and "=?" not in text
    return Header(text, "us-ascii" if plain else "utf-8", header_name=header).encode()


def _address(name: str, address: str) -> Address:
    # By parts, because `Address(addr_spec=...)` rejects what only the server
    # may reject.
    local, _, domain = address.rpartition("@")
    return Address(display_name=_one_line(name), username=local, domain=domain)


def _one_line(text: str) -> str:
    """Undo the line breaks that a spreadsheet allows and a header does not."""
    return " ".join(text.split())
