pub(crate) mod download {
    use crate::http::reply::*;
    pub(crate) async fn download(
        _a: &crate::agent::Agent,
        _r: &http::Request<hyper::body::Incoming>,
    ) -> Reply {
        empty(http::StatusCode::NOT_IMPLEMENTED)
    }
}
pub(crate) mod upload {
    use crate::http::reply::*;
    pub(crate) async fn upload(
        _a: &crate::agent::Agent,
        _r: http::Request<hyper::body::Incoming>,
    ) -> Reply {
        empty(http::StatusCode::NOT_IMPLEMENTED)
    }
}
pub(crate) mod compose {
    use crate::http::reply::*;
    pub(crate) async fn compose(
        _a: &crate::agent::Agent,
        _r: http::Request<hyper::body::Incoming>,
    ) -> Reply {
        empty(http::StatusCode::NOT_IMPLEMENTED)
    }
}
