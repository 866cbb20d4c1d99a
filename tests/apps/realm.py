"""A small login server for tests, made of Authlib's OpenID Connect parts: discovery, keys that change, code flow with
PKCE, refresh tokens, passwords. Its tokens look like Keycloak's.
"""

from __future__ import annotations

import logging
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6749.models import ClientMixin
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from authlib.oidc.core.grants.code import OpenIDToken
from flask import Flask, jsonify, request
from joserfc import jwk, jwt
from werkzeug.serving import make_server

CLIENT = "monailabel-app"
PASSWORD = "correct horse"
ROLES = {
    "rita": ["monailabel-annotator"],
    "rolf": ["monailabel-annotator"],
    "vera": ["monailabel-reviewer"],
    "anna": ["monailabel-annotator-admin"],
    "adam": ["monailabel-admin"],
    "paul": ["offline_access", "monailabel-user"],
}
FORM = """<!doctype html><title>Login</title><form method="post"><input name="username" autofocus>
<input name="password" type="password"><button>Sign in</button></form>"""


class Client(ClientMixin):
    """The one public client."""

    client_id = CLIENT

    def __init__(self, redirects: list[str]) -> None:
        self.redirects = redirects

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return self.redirects[0]

    def get_allowed_scope(self, scope: str) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirects

    def check_client_secret(self, client_secret: str) -> bool:
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "none"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in ("authorization_code", "refresh_token", "password")


class Code:
    """An authorisation code."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def get_redirect_uri(self) -> str:
        return str(self.redirect_uri)

    def get_scope(self) -> str:
        return str(self.scope)

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> None:
        return None  # in the user's claims, those of refreshed tokens, too

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class Realm:
    """The login server.

    Attributes:
        seconds: how long access tokens last.
        leeway: seconds that a server accepts a token after its end; tokens end so much before ``seconds``.
        issued: number of tokens given out, by grant type.
        key_requests: how often its keys were asked for.
    """

    def __init__(self) -> None:
        self.issuer = ""
        self.seconds = 300
        self.leeway = 0
        self.issued: dict[str, int] = {}
        self.key_requests = 0
        self.client = Client([])
        self._codes: dict[str, Code] = {}
        self._refresh: dict[str, tuple[str, str]] = {}
        self._logins: dict[str, int] = {}  # when a user gave the password; the viewer takes no renewed token without it
        self.rotate()

    def rotate(self, algorithm: str = "RS256") -> None:
        """Another key, alone; tokens of the earlier one count no longer."""
        kid = secrets.token_hex(8)
        options = {"kid": kid, "alg": algorithm, "use": "sig"}
        if algorithm == "ES256":
            self.key: Any = jwk.ECKey.generate_key("P-256", options)
        else:
            self.key = jwk.RSAKey.generate_key(2048, options)
        self.algorithm = algorithm

    def claims(self, user: str, **changed: Any) -> dict[str, Any]:
        """Claims of an access token; None as a value leaves one out."""
        now = int(time.time())
        values = {
            "iss": self.issuer,
            "aud": [CLIENT, "account"],
            "azp": CLIENT,
            "sub": f"id-{user}",
            "typ": "Bearer",
            "iat": now,
            "exp": now + self.seconds - self.leeway,
            "preferred_username": user,
            "realm_access": {"roles": ROLES.get(user, [])},
            **changed,
        }
        return {name: value for name, value in values.items() if value is not None}

    def token(self, user: str, **changed: Any) -> str:
        """An access token with other claims."""
        header = {"alg": self.algorithm, "kid": self.key.kid}
        return str(jwt.encode(header, self.claims(user, **changed), self.key, [self.algorithm]))

    def headers(self, user: str, **changed: Any) -> dict[str, str]:
        """Headers of a request of this user."""
        return {"authorization": f"Bearer {self.token(user, **changed)}"}

    def application(self) -> Flask:
        """Its web application."""
        application = Flask("realm")
        server = AuthorizationServer(application, lambda name: self.client if name == CLIENT else None, self._save)
        server.register_token_generator("default", self._generate)
        self._register(server)

        @application.after_request
        def open_to_pages(answer: Any) -> Any:  # as a login server has to be for programs in a browser
            answer.headers["Access-Control-Allow-Origin"] = "*"
            answer.headers["Access-Control-Allow-Headers"] = "*"
            answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            return answer

        @application.get("/realms/test/.well-known/openid-configuration")
        def discovery() -> Any:
            at = f"{self.issuer}/protocol/openid-connect"
            return jsonify(
                issuer=self.issuer,
                authorization_endpoint=f"{at}/auth",
                token_endpoint=f"{at}/token",
                jwks_uri=f"{at}/certs",
                end_session_endpoint=f"{at}/logout",
                response_types_supported=["code"],
                subject_types_supported=["public"],
                id_token_signing_alg_values_supported=["RS256", "ES256"],
                code_challenge_methods_supported=["S256"],
            )

        @application.get("/realms/test/protocol/openid-connect/certs")
        def certs() -> Any:
            self.key_requests += 1
            return jsonify(keys=[self.key.as_dict(private=False)])

        @application.route("/realms/test/protocol/openid-connect/auth", methods=["GET", "POST"])
        def authorise() -> Any:
            grant = server.get_consent_grant(end_user=None)
            if request.method == "GET":
                return FORM
            user = request.form.get("username", "")
            if user not in ROLES or request.form.get("password") != PASSWORD:
                return FORM, 401
            self._logins[user] = int(time.time())
            return server.create_authorization_response(grant=grant, grant_user=user)

        @application.route("/realms/test/protocol/openid-connect/token", methods=["POST", "OPTIONS"])
        def token() -> Any:
            return "" if request.method == "OPTIONS" else server.create_token_response()

        @application.get("/realms/test/protocol/openid-connect/logout")
        def log_out() -> Any:
            return "logged out"

        return application

    def _save(self, token: dict[str, Any], asked: Any) -> None:
        if "refresh_token" in token:
            self._refresh[token["refresh_token"]] = (asked.user, token["scope"])

    def _generate(self, grant_type: str, client: Any, user: str, scope: str, **_: Any) -> dict[str, Any]:
        self.issued[grant_type] = self.issued.get(grant_type, 0) + 1
        values = {"token_type": "Bearer", "access_token": self.token(user), "expires_in": self.seconds}
        return {**values, "refresh_token": secrets.token_urlsafe(32), "scope": scope or "openid"}

    def _register(self, server: AuthorizationServer) -> None:
        realm = self

        class IDToken:
            def resolve_client_private_key(self, client: Any) -> Any:
                return realm.key

            def get_client_claims(self, client: Any) -> dict[str, Any]:
                return {"iss": realm.issuer, "exp": realm.seconds, "aud": [CLIENT]}

            def get_client_algorithm(self, client: Any) -> str:
                return realm.algorithm

            def get_encode_header(self, client: Any) -> dict[str, str]:
                return {"alg": realm.algorithm, "kid": realm.key.kid}

            def generate_user_info(self, user: str, scope: str) -> UserInfo:
                return UserInfo(sub=f"id-{user}", preferred_username=user, auth_time=realm._logins.get(user))

            def exists_nonce(self, nonce: str, asked: Any) -> bool:
                return False

        class CodeToken(IDToken, OpenIDCode):
            pass

        class RefreshedToken(IDToken, OpenIDToken):
            pass

        class CodeGrant(grants.AuthorizationCodeGrant):
            TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

            def save_authorization_code(self, code: str, asked: Any) -> None:
                data = asked.payload.data
                realm._codes[code] = Code(
                    code=code,
                    user=asked.user,
                    redirect_uri=asked.payload.redirect_uri,
                    scope=asked.payload.scope,
                    nonce=data.get("nonce"),
                    code_challenge=data.get("code_challenge"),
                    code_challenge_method=data.get("code_challenge_method"),
                )

            def query_authorization_code(self, code: str, client: Any) -> Code | None:
                return realm._codes.get(code)

            def delete_authorization_code(self, authorization_code: Any) -> None:
                realm._codes.pop(authorization_code.code)

            def authenticate_user(self, authorization_code: Any) -> str:
                return str(authorization_code.user)

        class RefreshGrant(grants.RefreshTokenGrant):
            TOKEN_ENDPOINT_AUTH_METHODS = ["none"]
            INCLUDE_NEW_REFRESH_TOKEN = True

            def authenticate_refresh_token(self, refresh_token: str) -> Any:
                found = realm._refresh.pop(refresh_token, None)
                return None if found is None else Refresh(*found)

            def authenticate_user(self, refresh_token: Any) -> str:
                return str(refresh_token.user)

            def revoke_old_credential(self, refresh_token: Any) -> None:
                pass  # it was removed when it was used

        class PasswordGrant(grants.ResourceOwnerPasswordCredentialsGrant):
            TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

            def authenticate_user(self, username: str, password: str) -> str | None:
                return username if username in ROLES and password == PASSWORD else None

        server.register_grant(CodeGrant, [CodeToken(), CodeChallenge(required=True)])
        server.register_grant(RefreshGrant, [RefreshedToken()])
        server.register_grant(PasswordGrant)


class Refresh:
    """A refresh token."""

    def __init__(self, user: str, scope: str) -> None:
        self.user = user
        self.scope = scope

    def check_client(self, client: Any) -> bool:
        return True

    def get_scope(self) -> str:
        return self.scope


@contextmanager
def running_realm(host: str = "127.0.0.1", port: int = 0) -> Iterator[Realm]:
    """The login server on a free port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    realm = Realm()
    server = make_server(host, port, realm.application(), threaded=True)
    realm.issuer = f"http://{host}:{server.server_port}/realms/test"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield realm
    finally:
        server.shutdown()
        thread.join(10)


def main(port: int, issuer: str, *redirects: str) -> None:
    """The login server in a process of its own, behind a proxy that makes it ``issuer``."""
    realm = Realm()
    realm.issuer, realm.client.redirects = issuer, list(redirects)
    make_server("127.0.0.1", port, realm.application(), threaded=True).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
