"""What a user's machine sees of a server on the network: run in another network namespace, prints JSON.

python client.py https://10.99.0.1 PASSWORD
"""

from __future__ import annotations

import json
import socket
import sys
from urllib.parse import urlsplit

import httpx

NEGATIVE = b'{"status": "no_finding", "boxes": []}'


def main(server: str, password: str) -> dict[str, object]:
    host = urlsplit(server).hostname or ""
    found: dict[str, object] = {}
    for port in (8000, 8081):
        try:
            socket.create_connection((host, port), timeout=5).close()
            found[f"port {port}"] = "open"
        except OSError as error:
            found[f"port {port}"] = type(error).__name__
    with httpx.Client(timeout=120) as client:
        plain = client.get(server.replace("https:", "http:"))
        found["plain"] = [plain.status_code, plain.headers.get("location")]
        asked = client.get(f"{server}/auth/")
        found["login"] = asked.json()
        found["hsts"] = asked.headers.get("strict-transport-security")
        found["stranger"] = client.get(f"{server}/dgm/state").status_code
        forged = {"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1"}
        found["metrics"] = client.get(f"{server}/metrics", headers=forged).status_code
        found["other host"] = client.get(f"{server}/dgm/state", headers={"host": "evil.example"}).status_code
        fields = {"username": "rita", "password": password}
        token = client.post(f"{server}/auth/token", data=fields).json()["access_token"]
        header = {"authorization": f"Bearer {token}"}
        found["reader"] = client.put(f"{server}/dgm/boxes?image=c", content=NEGATIVE, headers=header).json()["reader"]
        found["audit for a reader"] = client.get(f"{server}/dgm/audit", headers=header).status_code
        guesses = [client.post(f"{server}/auth/token", data={**fields, "password": "x"}).status_code for _ in range(12)]
        found["guesses"] = sorted(set(guesses))
    with httpx.Client(timeout=120) as browser:  # the login of a page
        form = browser.get(f"{server}/login?to=/dgm/admin", follow_redirects=True)
        found["form"] = "password" in form.text
        answer = browser.post(str(form.url), data={"username": "adam", "password": password}, follow_redirects=True)
        found["page"] = [answer.status_code, "Administration" in answer.text]
        found["cookies"] = sorted(browser.cookies.keys())
        found["cookie is secure"] = all(cookie.secure for cookie in browser.cookies.jar)
        own = {"origin": server, "sec-fetch-site": "same-origin"}
        found["label by cookie"] = browser.put(f"{server}/dgm/boxes?image=c", content=NEGATIVE, headers=own).status_code
        foreign = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        found["label of a foreign page"] = browser.put(
            f"{server}/dgm/boxes?image=c", content=NEGATIVE, headers=foreign
        ).status_code
        begun = [browser.get(f"{server}/login", follow_redirects=False).status_code for _ in range(12)]
        found["logins that begin"] = sorted(set(begun))
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
