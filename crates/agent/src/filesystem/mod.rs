pub(crate) mod watchers {
    #[derive(Default)]
    pub(crate) struct Watchers;
}
pub(crate) mod service {
    use crate::http::reply::*;
    use std::rc::Rc;
    pub(crate) async fn call(
        _a: Rc<crate::agent::Agent>,
        _m: &str,
        _r: http::Request<hyper::body::Incoming>,
    ) -> Reply {
        empty(http::StatusCode::NOT_IMPLEMENTED)
    }
}
