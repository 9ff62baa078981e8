"""Write tests/vectors/sigv4.json: requests as AWS's own client library signs them.

    pip install botocore && python tools/sigv4_vectors.py

The edge signs the same requests anew with the same keys; the signatures must be the same.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from botocore import auth  # pyright: ignore[reportMissingImports]
from botocore.awsrequest import AWSRequest  # pyright: ignore[reportMissingImports]
from botocore.credentials import Credentials  # pyright: ignore[reportMissingImports]

NOW = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
TARGET = Path(__file__).parents[1] / "tests" / "vectors" / "sigv4.json"
KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
S3 = "https://bucket.s3.eu-central-1.amazonaws.com"


@dataclass(frozen=True)
class Case:
    """A request to sign.

    Attributes:
        signer: Name of the class of botocore.auth that signs it.
    """

    signer: str
    service: str
    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: str = ""
    token: str | None = None


CASES = [
    Case("S3SigV4Auth", "s3", "GET", f"{S3}/a%20key/with~tilde%28and%29?list-type=2&prefix=a%2Fb"),
    Case("S3SigV4Auth", "s3", "PUT", f"{S3}/x", {"Content-Type": "text/plain"}, "hello"),
    Case("S3SigV4Auth", "s3", "GET", f"{S3}//double/./dots/../x?uploads"),
    Case("S3SigV4Auth", "s3", "DELETE", f"{S3}/x?versionId=b&a=1", token="to+ken/=="),
    Case("S3SigV4QueryAuth", "s3", "GET", f"{S3}/a%20key?response-content-type=text%2Fplain"),
    Case("S3SigV4QueryAuth", "s3", "PUT", f"{S3}/x", {"Content-Type": "a/b"}, token="to+ken/=="),
    Case("SigV4QueryAuth", "sts", "GET", "https://sts.amazonaws.com/?Action=GetCallerIdentity"),
    Case(
        "SigV4Auth",
        "dynamodb",
        "POST",
        "https://dynamodb.us-east-1.amazonaws.com/",
        {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json"},
        '{"Limit": 10}',
    ),
    Case(
        "SigV4Auth",
        "bedrock",
        "POST",
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/a.b%3A0/invoke",
        {"Accept": "  a   b  "},
        "{}",
        "token",
    ),
    Case("SigV4Auth", "execute-api", "GET", "https://api.example.com/a//b/./c/../d/?b=2&a=1&a=0"),
]


def signed(case: Case) -> dict[str, Any]:
    """The request of a case, with its signature."""
    credentials = Credentials(KEYS["access_key"], KEYS["secret_key"], case.token)
    request = AWSRequest(case.method, case.url, headers=dict(case.headers), data=case.body.encode())
    request.context["client_config"] = None
    with patch.object(auth, "get_current_datetime", lambda: NOW):
        getattr(auth, case.signer)(credentials, case.service, "us-east-1").add_auth(request)
    return {
        "method": case.method,
        "url": request.url,
        "headers": sorted([name, value] for name, value in request.headers.items()),
        "body": case.body,
        "token": case.token,
    }


def main() -> None:
    """Write the file."""
    vectors = {"keys": KEYS, "requests": [signed(case) for case in CASES]}
    TARGET.write_text(json.dumps(vectors, indent=2) + "\n")


if __name__ == "__main__":
    main()
