"""An agent works with a bucket, and its sandbox never holds a key: the edge signs every request.

    python examples/s3_resigned.py --bucket my-bucket [--region eu-central-1] [--url …]
        [--endpoint minio.example.com:9000]

AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary keys, AWS_SESSION_TOKEN hold the real
keys; they become secrets of the server. The sandbox gets keys of no worth, with which its client
signs as ever. `--endpoint` is where a store of your own is reached, in place of AWS: that may be a
private address, so it takes a key of the server with the scope `admin`.
"""

from __future__ import annotations

import argparse
import os
import time

from wardian import CommandFailed, Egress, EgressEvent, Sandbox, Secrets, SigV4, WardianError

WORTHLESS = {"AWS_ACCESS_KEY_ID": "nothing", "AWS_SECRET_ACCESS_KEY": "nothing"}
#: curl signs by itself, so nothing has to be installed in the sandbox.
CURL = (
    "curl --fail-with-body --silent --show-error"
    " --aws-sigv4 aws:amz:$REGION:s3 --user nothing:nothing"
)


def keep_keys(arguments: argparse.Namespace, host: str) -> SigV4:
    """Make secrets of the real keys, which only rules for this host may use."""
    secrets = Secrets(arguments.url)
    secrets.set("S3_ACCESS", os.environ["AWS_ACCESS_KEY_ID"], hosts=host)
    secrets.set("S3_SECRET", os.environ["AWS_SECRET_ACCESS_KEY"], hosts=host)
    token = os.environ.get("AWS_SESSION_TOKEN")
    if token:
        secrets.set("S3_TOKEN", token, hosts=host)
    return SigV4("{S3_ACCESS}", "{S3_SECRET}", "{S3_TOKEN}" if token else None)


def work(arguments: argparse.Namespace) -> None:
    """Write an object from inside, read it back, and say what the edge saw."""
    host = f"s3.{arguments.region}.amazonaws.com"
    egress = Egress().allow(
        host,
        name="bucket",
        path=f"/{arguments.bucket}/**",
        connect_to=arguments.endpoint,
        inject=keep_keys(arguments, host),
    )
    scheme = "http" if arguments.endpoint else "https"
    env = WORTHLESS | {
        "REGION": arguments.region,
        "OBJECT": f"{scheme}://{host}/{arguments.bucket}/wardian-example.txt",
    }
    with Sandbox.create("base", egress=egress, env=env, url=arguments.url) as sandbox:
        sandbox.run(f'date > note && {CURL} -T note "$OBJECT"', check=True)
        print("in the bucket:", sandbox.run(f'{CURL} "$OBJECT"', check=True).stdout.strip())
        for event in told(sandbox, 2):
            print(event.method, event.path, event.status, "signed with", ", ".join(event.secrets))


def told(sandbox: Sandbox, requests: int) -> list[EgressEvent]:
    """What was decided; the server hears of a request a moment after it has ended."""
    events: list[EgressEvent] = []
    for _ in range(50):
        events = list(sandbox.egress.events(kind="request"))
        if len(events) >= requests:
            break
        time.sleep(0.1)
    return events


def main() -> int:
    """Exit code 0 if the object went there and back."""
    parser = argparse.ArgumentParser(description="A bucket for a sandbox without its keys.")
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--region", default="eu-central-1")
    parser.add_argument("--endpoint", help="host:port that is dialled in place of AWS")
    parser.add_argument("--url", help="the server; WARDIAN_URL if not given")
    try:
        work(parser.parse_args())
    except KeyError as missing:
        print(f"error: {missing.args[0]} is not set")
        return 1
    except CommandFailed as failed:
        # What the store said, or curl.
        print(f"error: {failed.result.stdout}{failed.result.stderr}")
        return 1
    except WardianError as error:
        print(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
