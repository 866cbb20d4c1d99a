"""Login by OpenID Connect: which user a request comes from, and the password and code flows at the login server.

MONAI Label 0.8.5 has its own (`monailabel.endpoints.user.auth`), which refuses every token: it names no algorithm to
PyJWT. This module takes its place and reads the same settings, `MONAI_LABEL_AUTH_...`.

A token counts if a key of the login server signed it with RS256 or ES256, if it is for this server (`aud`), of this
login server (`iss`), not expired, and no ID token. Keys are looked up by their id and fetched again when an unknown id
comes, so the login server may change them at any time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
from monailabel.config import settings

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import checked_reader
from monai_dgm.labelling.server.http_errors import LoginError, UnavailableError
from monai_dgm.labelling.server.request_guard import is_loopback

logger = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "ES256")
LEEWAY_SECONDS = 30  # clocks of two computers differ
DOCUMENT_SECONDS = 600.0  # how long the login server's addresses count
KEYS_SECONDS = 300  # how long its keys count; one that it withdraws is good for so long
REFETCH_SECONDS = 10.0  # between two requests for keys, however many unknown ids come
MAX_TOKEN = 16_384
NOT_ACCESS = ("ID", "Refresh", "Logout")  # Keycloak's claim "typ" of tokens that are for others
_KNOWN_ERRORS = ("invalid_grant", "invalid_client", "unauthorized_client", "invalid_request", "invalid_scope")


@dataclass(frozen=True)
class Account:
    """A user of the login server, as a token describes it.

    Attributes:
        name: of the login; it is the reader of this user's labels.
        roles: names of roles, as the login server calls them.
        expires: time when the token ends, in seconds since 1970.
        email, full_name: for MONAI Label's clients; None if the token has none.
    """

    name: str
    roles: tuple[str, ...]
    expires: float
    email: str | None = None
    full_name: str | None = None


class LoginServer:
    """The login server of the settings `MONAI_LABEL_AUTH_...`.

    Args:
        realm: its address; it must be its issuer. HTTPS, except on this machine.
        client: id of this app's client there.
        audience: value that `aud` of a token must hold.
    """

    def __init__(self, realm: str, client: str, audience: str) -> None:
        self.realm = realm.rstrip("/")
        self.client = client
        self.audience = audience
        self._document: dict[str, Any] = {}
        self._until = float("-inf")
        self._keys: jwt.PyJWKClient | None = None
        self._http = httpx.Client(timeout=settings.MONAI_LABEL_AUTH_TIMEOUT, follow_redirects=False)
        _require_safe(self.realm)

    @property
    def origin(self) -> str:
        """Scheme, host and port of the login server."""
        parts = urlsplit(self.realm)
        return f"{parts.scheme}://{parts.netloc}"

    def address(self, name: str) -> str:
        """An address of the login server, such as "token_endpoint".

        Raises:
            UnavailableError: it does not answer, or has no such address.
        """
        if time.monotonic() >= self._until:
            document = self._fetch(f"{self.realm}/.well-known/openid-configuration")
            if document.get("issuer") != self.realm:
                raise UnavailableError(
                    "the login server calls itself by another address than MONAI_LABEL_AUTH_REALM_URI"
                )
            self._document, self._until = document, time.monotonic() + DOCUMENT_SECONDS
        address = self._document.get(name)
        if not isinstance(address, str):
            raise UnavailableError(f"the login server has no {name}")
        _require_safe(address)
        return address

    def account(self, token: str) -> Account:
        """The user whom an access token stands for.

        Raises:
            LoginError: a token that does not count; the message does not repeat it.
            UnavailableError: the login server's keys cannot be fetched.
        """
        claims = self._claims(token)
        if claims.get("typ") in NOT_ACCESS or "at_hash" in claims:
            raise LoginError("expected an access token, got another token of the login server")
        name = claims.get(settings.MONAI_LABEL_AUTH_TOKEN_USERNAME)
        if not _is_reader(name):
            raise LoginError(f"the token has no usable {settings.MONAI_LABEL_AUTH_TOKEN_USERNAME}")
        return Account(
            name,
            _roles(claims),
            float(claims["exp"]),
            _text(claims.get(settings.MONAI_LABEL_AUTH_TOKEN_EMAIL)),
            _text(claims.get(settings.MONAI_LABEL_AUTH_TOKEN_NAME)),
        )

    def token(self, fields: Mapping[str, str]) -> dict[str, Any]:
        """Tokens for a password, an authorisation code or a refresh token (RFC 6749).

        Args:
            fields: of the request, without the client's id.

        Raises:
            LoginError: the login server refuses it.
            UnavailableError: the login server does not answer.
        """
        try:
            answer = self._http.post(self.address("token_endpoint"), data={"client_id": self.client, **fields})
            values = answer.json()
        except (httpx.HTTPError, ValueError):
            raise UnavailableError("the login server does not answer") from None
        if answer.status_code >= 500:
            raise UnavailableError("the login server does not answer")
        if answer.status_code != 200 or not isinstance(values, dict) or not isinstance(values.get("access_token"), str):
            refused = values.get("error") if isinstance(values, dict) else None
            logger.warning(
                "the login server refuses a login (%s)", refused if refused in _KNOWN_ERRORS else "other reason"
            )
            raise LoginError("the login server refuses this login")
        return values

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN:
            raise LoginError("the token is too long")
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
            if algorithm not in ALGORITHMS:
                raise LoginError(f"expected a token signed with {' or '.join(ALGORITHMS)}, got another")
            if self._keys is None:
                self._keys = jwt.PyJWKClient(
                    self.address("jwks_uri"),
                    lifespan=KEYS_SECONDS,
                    cooldown_duration=REFETCH_SECONDS,
                    timeout=settings.MONAI_LABEL_AUTH_TIMEOUT,
                )
            key = self._keys.get_signing_key_from_jwt(token)
            return jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self.audience,
                issuer=self.realm,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWKClientConnectionError:
            raise UnavailableError("the login server does not answer") from None
        except jwt.ExpiredSignatureError:
            raise LoginError("the login has expired") from None
        except jwt.PyJWTError as error:  # its message may quote the token
            raise LoginError(f"the token does not count here ({type(error).__name__})") from None

    def _fetch(self, address: str) -> dict[str, Any]:
        try:
            answer = self._http.get(address)
            answer.raise_for_status()
            values = answer.json()
        except (httpx.HTTPError, ValueError):
            raise UnavailableError("the login server does not answer") from None
        return values if isinstance(values, dict) else {}


def _roles(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The roles in a token: `MONAI_LABEL_AUTH_TOKEN_ROLES` is the way to them, with # between the steps."""
    found: Any = claims
    for step in settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#"):
        found = found.get(step) if isinstance(found, Mapping) else None
    return tuple(role for role in found if isinstance(role, str)) if isinstance(found, list) else ()


def _is_reader(name: Any) -> bool:
    """Whether labels can be kept under a name as it is, so that no two logins are one reader."""
    try:
        return checked_reader(name) == name
    except InputError:
        return False


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _require_safe(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise InputError(
            "MONAI_LABEL_AUTH_REALM_URI: expected https:// (or http:// on this machine) for the login server"
        )
