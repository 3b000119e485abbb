"""Stands in for Mailpit: takes mails at MP_SMTP_BIND_ADDR, and shows them as JSON at MP_UI_BIND_ADDR."""

import email
import email.policy
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

MAILS = []


class Catch:
    """Keeps what arrives."""

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text = mail.get_body(("plain",)).get_content()
        login = [part.decode() for part in session.auth_data or ()]
        MAILS.append({"to": envelope.rcpt_tos, "from": envelope.mail_from, "text": text, "login": login})
        return "250 kept"


def take_any(server, session, envelope, mechanism, auth_data):
    """Lets everybody in, and remembers by what."""
    return AuthResult(success=True, auth_data=auth_data)


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
accepts_any = os.environ.get("MP_SMTP_AUTH_ACCEPT_ANY") == "true"
needs_tls = os.environ.get("MP_SMTP_AUTH_ALLOW_INSECURE") != "true"
Controller(
    Catch(), hostname=host, port=port, authenticator=take_any if accepts_any else None, auth_require_tls=needs_tls
).start()
ThreadingHTTPServer(address("MP_UI_BIND_ADDR"), Page).serve_forever()
