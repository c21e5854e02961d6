//! An S3 store in this process: s3s-fs on a directory. Adds the list of unfinished uploads, which s3s-fs lacks, and fault
//! injection. Used by the unit tests of the s3 sink and by the tests of the program.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode, Uri};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;

pub const ACCESS_KEY_ID: &str = "test-access-key-id";
pub const SECRET_ACCESS_KEY: &str = "test-secret-access-key-0123456789";

/// The access key ids of roles, which have the same secret.
pub const ROLES: [&str; 5] = ["acme_account", "acme_login", "acme_access", "acme_group", "acme_api"];

/// Answers a request with a status and an error code instead of serving it.
pub type Fault = Box<dyn FnMut(&Method, &Uri) -> Option<(u16, &'static str)> + Send>;

/// A running store. It stops when dropped.
pub struct Store {
    pub directory: tempfile::TempDir,
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Shared {
    service: S3Service,
    root: PathBuf,
    fault: Mutex<Option<Fault>>,
    lost: Mutex<Option<Fault>>,
    /// Unfinished uploads: id and key.
    uploads: Mutex<BTreeMap<String, String>>,
    requests: Mutex<Vec<String>>,
    /// Key and bytes of every object that was put, in order, and the key of each that was deleted.
    puts: Mutex<Vec<(String, Vec<u8>)>>,
    deletes: Mutex<Vec<String>>,
    honors_conditions: Mutex<bool>,
    /// Held by a put with a condition.
    conditional: tokio::sync::Mutex<()>,
    /// A header without which no object is put.
    demanded: Mutex<Option<&'static str>>,
}

impl Store {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(directory.path()).unwrap());
        let mut auth = SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY);
        for role in ROLES {
            auth.register(role.to_owned(), SECRET_ACCESS_KEY.into());
        }
        builder.set_auth(auth);
        let shared = Arc::new(Shared {
            service: builder.build(),
            root: directory.path().to_owned(),
            fault: Mutex::default(),
            lost: Mutex::default(),
            uploads: Mutex::default(),
            requests: Mutex::default(),
            puts: Mutex::default(),
            deletes: Mutex::default(),
            honors_conditions: Mutex::new(true),
            conditional: tokio::sync::Mutex::default(),
            demanded: Mutex::default(),
        });
        let router = axum::Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self { directory, address, shared, runtime: Some(runtime) }
    }

    /// A store with one bucket.
    pub fn with_bucket(name: &str) -> Self {
        let store = Self::start();
        store.create_bucket(name);
        store
    }

    pub fn create_bucket(&self, name: &str) {
        fs::create_dir(self.directory.path().join(name)).unwrap();
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Calls `fault` with each request from now on.
    pub fn set_fault(&self, fault: impl FnMut(&Method, &Uri) -> Option<(u16, &'static str)> + Send + 'static) {
        *self.shared.fault.lock().unwrap() = Some(Box::new(fault));
    }

    pub fn clear_fault(&self) {
        *self.shared.fault.lock().unwrap() = None;
        *self.shared.lost.lock().unwrap() = None;
    }

    /// Calls `lost` with each request from now on, serves it, and gives its answer instead of the true one.
    pub fn lose_answers(&self, lost: impl FnMut(&Method, &Uri) -> Option<(u16, &'static str)> + Send + 'static) {
        *self.shared.lost.lock().unwrap() = Some(Box::new(lost));
    }

    /// From now on the store ignores `If-None-Match` and overwrites objects, as some stores do.
    pub fn ignore_conditions(&self) {
        *self.shared.honors_conditions.lock().unwrap() = false;
    }

    /// From now on an object is put with this header only, as policies and Object Lock want it.
    pub fn demand_header(&self, name: &'static str) {
        *self.shared.demanded.lock().unwrap() = Some(name);
    }

    /// All objects of a bucket but markers, by key.
    pub fn objects(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        let root = self.directory.path().join(bucket);
        let mut objects = BTreeMap::new();
        collect(&root, &root, &mut objects);
        objects.retain(|key, _| !key.contains("_auditflow/"));
        objects
    }

    /// The keys of unfinished multipart uploads.
    pub fn unfinished_uploads(&self) -> Vec<String> {
        self.shared.uploads.lock().unwrap().values().cloned().collect()
    }

    /// The keys of objects that were put again in the same bytes: readers of notifications take their events twice.
    pub fn second_puts(&self) -> Vec<String> {
        let puts = self.shared.puts.lock().unwrap();
        let is_second = |(index, put): &(usize, &(String, Vec<u8>))| puts[..*index].contains(put);
        puts.iter().enumerate().filter(is_second).map(|(_, (key, _))| key.clone()).collect()
    }

    /// The keys of deleted objects.
    pub fn deletes(&self) -> Vec<String> {
        self.shared.deletes.lock().unwrap().clone()
    }

    /// Method and path of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

/// Works in asynchronous tests too.
impl Drop for Store {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

fn collect(root: &Path, directory: &Path, objects: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, objects);
        } else if let Ok(bytes) = fs::read(&path) {
            objects.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), bytes);
        }
    }
}

/// A client that is killed neither stores half an object nor keeps a complete one from being stored with all that it says of
/// itself, as with a real store: `s3s-fs` writes the object first and its metadata later.
async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else { return error(400, "IncompleteBody") };
    let served = tokio::spawn(serve_whole(shared, Request::from_parts(parts, Body::from(bytes))));
    served.await.unwrap()
}

async fn serve_whole(shared: Arc<Shared>, request: Request) -> Response<Body> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    shared.requests.lock().unwrap().push(format!("{method} {uri}"));
    let fault = shared.fault.lock().unwrap().as_mut().and_then(|fault| fault(&method, &uri));
    if let Some((status, code)) = fault {
        return error(status, code);
    }
    let (key, query) = (key_of(&uri), uri.query().unwrap_or_default().to_owned());
    if method == Method::GET && has(&query, "uploads") {
        return shared.list_uploads(&query);
    }
    let demanded = shared.demanded.lock().unwrap().filter(|_| method == Method::PUT && !has(&query, "partNumber"));
    if let Some(name) = demanded.filter(|name| !request.headers().contains_key(*name)) {
        let (status, code) = if name.contains("checksum") { (400, "InvalidRequest") } else { (403, "AccessDenied") };
        return error_of(status, code, &format!("{name} is required"));
    }
    if request.headers().contains_key("if-none-match") && !*shared.honors_conditions.lock().unwrap() {
        fs::remove_file(shared.root.join(decoded(uri.path().trim_start_matches('/')))).ok();
    }
    // The file system looks first and writes then; S3 does both at once.
    let is_conditional = request.headers().contains_key("if-none-match");
    let _alone = if is_conditional { Some(shared.conditional.lock().await) } else { None };
    let reply = shared.service.call(request.map(s3s::Body::http_body_unsync)).await;
    let (mut parts, body) = reply.unwrap().map(Body::new).into_parts();
    // The body is sent with its length, not in chunks.
    parts.headers.remove("transfer-encoding");
    parts.headers.remove("trailer");
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    if parts.status.is_success() {
        shared.note_change(&method, &uri, &query);
        shared.note_upload(&method, key, &query, &String::from_utf8_lossy(&bytes));
    }
    let lost = shared.lost.lock().unwrap().as_mut().and_then(|lost| lost(&method, &uri));
    lost.map_or_else(|| Response::from_parts(parts, Body::from(bytes)), |(status, code)| error(status, code))
}

impl Shared {
    fn note_change(&self, method: &Method, uri: &Uri, query: &str) {
        let path = decoded(uri.path().trim_start_matches('/'));
        let completes = *method == Method::POST && has(query, "uploadId");
        if completes || (*method == Method::PUT && !has(query, "partNumber") && path.contains('/')) {
            let bytes = fs::read(self.root.join(&path)).unwrap_or_default();
            self.puts.lock().unwrap().push((path, bytes));
        } else if *method == Method::DELETE && !has(query, "uploadId") {
            self.deletes.lock().unwrap().push(path);
        }
    }

    fn note_upload(&self, method: &Method, key: String, query: &str, response: &str) {
        let mut uploads = self.uploads.lock().unwrap();
        if *method == Method::POST && has(query, "uploads") {
            let id = response.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap();
            uploads.insert(id.to_owned(), key);
        } else if let Some(id) = value(query, "uploadId").filter(|_| method != Method::PUT) {
            uploads.remove(&id);
        }
    }

    fn list_uploads(&self, query: &str) -> Response<Body> {
        let prefix = value(query, "prefix").unwrap_or_default();
        let uploads = self.uploads.lock().unwrap();
        let listed: String = uploads
            .iter()
            .filter(|(_, key)| key.starts_with(&prefix))
            .map(|(id, key)| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>"))
            .collect();
        let text = format!("<ListMultipartUploadsResult>{listed}</ListMultipartUploadsResult>");
        Response::builder().header("content-type", "application/xml").body(Body::from(text)).unwrap()
    }
}

/// A store's error response.
pub fn error(status: u16, code: &str) -> Response<Body> {
    error_of(status, code, "injected by the test")
}

fn error_of(status: u16, code: &str, message: &str) -> Response<Body> {
    let text = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(Body::from(text)).unwrap()
}

/// The key of a path-style request: the part after the bucket.
fn key_of(uri: &Uri) -> String {
    let path = uri.path().trim_start_matches('/');
    decoded(path.split_once('/').map_or("", |(_, key)| key))
}

fn has(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some(name))
}

fn value(query: &str, name: &str) -> Option<String> {
    let pair = query.split('&').find(|pair| pair.starts_with(&format!("{name}=")))?;
    Some(decoded(pair.split_once('=').unwrap().1))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}
