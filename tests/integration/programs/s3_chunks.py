"""Uploads in signed chunks whose signatures are all zeros; prints the status of each answer."""

import base64
import datetime
import hashlib
import http.client
import json
import sys

host, region = sys.argv[1:]
ZEROS = "0" * 64
CHUNKS = [b"a" * 65536, b"b" * 8192, b"c" * 100]
now = datetime.datetime.now(datetime.UTC)


def put(key, chunks, trailer, spoil=(b"", b"")):
    body = b"".join(
        b"%x;chunk-signature=%s\r\n%s\r\n" % (len(each), ZEROS.encode(), each) for each in chunks
    )
    body += b"0;chunk-signature=%s\r\n" % ZEROS.encode()
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    headers = {}
    if trailer is not None:
        kind += "-TRAILER"
        headers["x-amz-trailer"] = trailer[0]
        body += f"{trailer[0]}:{trailer[1]}\r\nx-amz-trailer-signature:{ZEROS}\r\n".encode()
    body = (body + b"\r\n").replace(*spoil, 1) if spoil[0] else body + b"\r\n"
    signed = ["content-encoding", "host", "x-amz-content-sha256", "x-amz-date"]
    signed += ["x-amz-decoded-content-length", *headers]
    headers |= {
        "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
        "x-amz-content-sha256": kind,
        "x-amz-decoded-content-length": str(sum(map(len, chunks))),
        "content-encoding": "aws-chunked",
        "content-length": str(len(body)),
        "authorization": f"AWS4-HMAC-SHA256 Credential=nothing/{now:%Y%m%d}/{region}/s3/"
        f"aws4_request,SignedHeaders={';'.join(sorted(signed))},Signature={ZEROS}",
    }
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request("PUT", f"/agent/{key}", body=body, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None


DIGEST = base64.b64encode(hashlib.sha256(b"".join(CHUNKS)).digest()).decode()
told = {
    "plain": put("chunks", CHUNKS, None),
    "trailer": put("trailer", CHUNKS, ("x-amz-checksum-sha256", DIGEST)),
    "malformed": put("malformed", CHUNKS, None, spoil=(b"2000;", b"1fff;")),
}
print(json.dumps(told))
