"""What an agent would do with an object store, by keys of no worth; prints what it got."""

import hashlib
import io
import json
import sys
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MEGABYTE = 1 << 20
endpoint, region = sys.argv[1:]
config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
s3 = boto3.client("s3", endpoint_url=endpoint, region_name=region, config=config)
told = {}

s3.create_bucket(Bucket="agent", CreateBucketConfiguration={"LocationConstraint": region})
KEY = "a folder/ünï (1)+~.txt"
s3.put_object(Bucket="agent", Key=KEY, Body=b"hello", Metadata={"by": "an   agent"})
got = s3.get_object(Bucket="agent", Key=KEY)
told["read"] = got["Body"].read().decode()
told["listed"] = [
    each["Key"] for each in s3.list_objects_v2(Bucket="agent", Prefix="a f")["Contents"]
]

large = bytes(range(256)) * (64 * MEGABYTE // 256)
parts = TransferConfig(multipart_threshold=8 * MEGABYTE, multipart_chunksize=8 * MEGABYTE)
s3.upload_fileobj(io.BytesIO(large), "agent", "large", Config=parts)
back = io.BytesIO()
s3.download_fileobj("agent", "large", back, Config=parts)
told["large"] = hashlib.sha256(back.getvalue()).hexdigest() == hashlib.sha256(large).hexdigest()
told["etag"] = s3.head_object(Bucket="agent", Key="large")["ETag"]

address = s3.generate_presigned_url("get_object", Params={"Bucket": "agent", "Key": KEY})
told["presigned"] = urllib.request.urlopen(address).read().decode()
address = s3.generate_presigned_url("put_object", Params={"Bucket": "agent", "Key": "put"})
put = urllib.request.Request(address, data=b"by address", method="PUT")
put.add_header("Content-Type", "")
urllib.request.urlopen(put).close()
told["put"] = s3.get_object(Bucket="agent", Key="put")["Body"].read().decode()

try:
    s3.get_object(Bucket="agent", Key="nothing")
except ClientError as error:
    told["missing"] = error.response["Error"]["Code"]
print(json.dumps(told))
