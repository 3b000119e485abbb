"""Stands in for Mailpit: takes mails at MP_SMTP_BIND_ADDR, and shows them as JSON at MP_UI_BIND_ADDR."""

import email
import email.policy
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller

MAILS = []


class Catch:
    """Keeps what arrives."""

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text = mail.get_body(("plain",)).get_content()
        MAILS.append({"to": envelope.rcpt_tos, "from": envelope.mail_from, "text": text})
        return "250 kept"


class Page(BaseHTTPRequestHandler):
    """Answers with everything that was kept."""

    def do_GET(self):
        body = json.dumps(MAILS).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def address(name):
    host, port = os.environ[name].rsplit(":", 1)
    return host, int(port)


host, port = address("MP_SMTP_BIND_ADDR")
Controller(Catch(), hostname=host, port=port).start()
ThreadingHTTPServer(address("MP_UI_BIND_ADDR"), Page).serve_forever()
