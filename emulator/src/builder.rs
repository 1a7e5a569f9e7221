//! Configuration and start of an emulator.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
#[cfg(feature = "persist")]
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;

use crate::auth::{MasterKey, WELL_KNOWN_KEY};
use crate::emulator::Emulator;
use crate::faults::{RequestLog, Rules};
#[cfg(feature = "tls")]
use crate::http::Tls;
use crate::http::{Listener, Server, Service, Throttle};
use crate::limits::MAX_PROCEDURE_CHARGE;
use crate::script::{Engine, ScriptSyntax};
use crate::stats::Recorder;
use crate::store::{Account, Clock, Isolation, Journal, ScriptSettings, Shared};

/// Most physical partitions of a container.
const MAX_PARTITIONS: u32 = 1024;
/// Requests kept for the control endpoint.
const CONTROL_LOG: usize = 1000;

/// Configures an [`Emulator`].
///
/// # Defaults
/// A random port on the loopback address, the well-known emulator key, data in memory only, one physical
/// partition for each container, and [`Isolation::Serial`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    address: IpAddr,
    port: u16,
    key: String,
    #[cfg(feature = "persist")]
    data_dir: Option<PathBuf>,
    partitions: u32,
    enforce_throughput: bool,
    #[cfg(feature = "tls")]
    tls: bool,
    isolation: Isolation,
    script_syntax: ScriptSyntax,
    script_charge: Duration,
    control: bool,
    request_log: usize,
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address is in use, or cannot be bound for another reason.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key is empty or not base64.
    #[error("the key is not valid: it must be base64 text")]
    Key,
    /// The number of physical partitions is out of range.
    #[error("{0} physical partitions are not possible: choose 1 to {MAX_PARTITIONS}")]
    Partitions(u32),
    /// The control endpoint must not be reachable from elsewhere.
    #[error("the control endpoint needs a loopback address, which {0} is not")]
    ControlAddress(IpAddr),
    /// The certificate cannot be made.
    #[cfg(feature = "tls")]
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
    /// The data directory cannot be opened.
    #[cfg(feature = "persist")]
    #[error("cannot open the data directory {}: {reason}", path.display())]
    DataDir {
        /// The directory asked for.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            key: WELL_KNOWN_KEY.to_owned(),
            #[cfg(feature = "persist")]
            data_dir: None,
            partitions: 1,
            enforce_throughput: false,
            #[cfg(feature = "tls")]
            tls: false,
            isolation: Isolation::default(),
            script_syntax: ScriptSyntax::default(),
            script_charge: MAX_PROCEDURE_CHARGE,
            control: false,
            request_log: 0,
        }
    }
}

impl Builder {
    /// The TCP port; 0 takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The address to listen on. Anything but loopback lets others reach the emulator, without TLS.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// The account's key as base64 text.
    pub fn key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    /// Keeps all data in this directory, and loads what is there. Created when missing.
    ///
    /// A change is on disk before its request is answered.
    #[cfg(feature = "persist")]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Physical partitions of each container created from now on, 1 to 1024.
    pub fn partitions(mut self, count: u32) -> Self {
        self.partitions = count;
        self
    }

    /// Refuses requests beyond the provisioned throughput with 429, as the service does. Off by default.
    ///
    /// The RU/s of a container are divided evenly between its physical partitions; containers of a database with
    /// shared throughput use that together.
    pub fn enforce_throughput(mut self, enforce: bool) -> Self {
        self.enforce_throughput = enforce;
        self
    }

    /// Serves HTTPS instead of HTTP, with a self-signed certificate for localhost, 127.0.0.1, ::1 and the address
    /// listened on. It is made anew at each start and valid for a year; [`Emulator::certificate_pem`] gives it for
    /// clients to trust.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// How concurrent transactions of a logical partition see each other.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// What becomes of scripts in a language that is newer than the service's engine.
    pub fn script_syntax(mut self, syntax: ScriptSyntax) -> Self {
        self.script_syntax = syntax;
        self
    }

    /// How long a stored procedure or trigger may run before the run counts against
    /// it: after six such runs in a row it is blocked with 403 until it is replaced. Two seconds by default, as in
    /// the service; a call of a user-defined function has a twentieth of it. It does not change the limit of five
    /// seconds after which a run fails with 408.
    pub fn script_charge_limit(mut self, limit: Duration) -> Self {
        self.script_charge = limit;
        self
    }

    /// Answers `/_emulator/…`: counters, the request log, faults, clock and isolation (see the README). There is no
    /// authorization for it: whoever reaches the port can use it, which is why it is off unless asked for, and why
    /// it needs a loopback address. Also keeps a log of 1000 requests unless [`Self::request_log`] says otherwise.
    pub fn control(mut self, control: bool) -> Self {
        self.control = control;
        if control && self.request_log == 0 {
            self.request_log = CONTROL_LOG;
        }
        self
    }

    /// How many of the last requests [`Faults::requests`](crate::Faults::requests) tells; none by default.
    pub fn request_log(mut self, capacity: usize) -> Self {
        self.request_log = capacity;
        self
    }

    /// An emulator for use in this process alone, by [`Emulator::call`]: no socket is opened.
    ///
    /// # Errors
    /// A bad key or number of partitions, or a data directory that cannot be opened.
    pub fn build(self) -> Result<Emulator, StartError> {
        Ok(Emulator::new(self.service()?, self.key, None, None))
    }

    /// An emulator that listens. Must be called within a Tokio runtime, which serves the connections.
    ///
    /// # Errors
    /// As for [`Self::build`], and when the address cannot be bound.
    pub async fn start(self) -> Result<Emulator, StartError> {
        let service = self.service()?;
        let address = SocketAddr::new(self.address, self.port);
        let bind = |source| StartError::Bind { address, source };
        let tcp = TcpListener::bind(address).await.map_err(bind)?;
        let mut bound = tcp.local_addr().map_err(bind)?;
        if bound.ip().is_unspecified() {
            // Clients are told this endpoint, and cannot connect to "any address".
            bound.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let listener = Listener {
            tcp,
            #[cfg(feature = "tls")]
            tls: self.certificate()?,
        };
        #[cfg(feature = "tls")]
        let certificate = listener.tls.as_ref().map(|tls| tls.certificate_pem.clone());
        #[cfg(not(feature = "tls"))]
        let certificate = None;
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let _ = service.endpoint.set(format!("{scheme}://{bound}"));
        let server = Server::start(listener, Arc::clone(&service));
        Ok(Emulator::new(service, self.key, Some(server), certificate))
    }

    #[cfg(feature = "tls")]
    fn certificate(&self) -> Result<Option<Arc<Tls>>, StartError> {
        if !self.tls {
            return Ok(None);
        }
        Tls::generate(self.address).map(|tls| Some(Arc::new(tls))).map_err(StartError::Certificate)
    }

    fn service(&self) -> Result<Arc<Service>, StartError> {
        let key = MasterKey::parse(&self.key).ok_or(StartError::Key)?;
        if !(1..=MAX_PARTITIONS).contains(&self.partitions) {
            return Err(StartError::Partitions(self.partitions));
        }
        if self.control && !self.address.is_loopback() {
            return Err(StartError::ControlAddress(self.address));
        }
        let account = self.account()?;
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Arc::new(Service {
            account,
            key,
            engine: Engine::new(threads),
            stats: Recorder::default(),
            faults: Rules::default(),
            requests: RequestLog::new(self.request_log),
            control: self.control,
            throttle: Throttle::default(),
            endpoint: OnceLock::new(),
        }))
    }

    fn shared(&self, journal: Journal) -> Shared {
        Shared {
            clock: Clock::default(),
            isolation: self.isolation.into(),
            scripts: ScriptSettings::new(self.script_syntax, self.script_charge),
            journal,
            partitions: self.partitions,
            enforce_throughput: self.enforce_throughput,
        }
    }

    #[cfg(not(feature = "persist"))]
    fn account(&self) -> Result<Account, StartError> {
        Ok(Account::new(self.shared(Journal::default())))
    }

    #[cfg(feature = "persist")]
    fn account(&self) -> Result<Account, StartError> {
        let Some(path) = &self.data_dir else { return Ok(Account::new(self.shared(Journal::default()))) };
        let failed = |reason: String| StartError::DataDir { path: path.clone(), reason };
        let (disk, entries) =
            crate::persist::Disk::open(Path::new(path)).map_err(|error| failed(error.to_string()))?;
        let account = Account::new(self.shared(Journal::on(disk)));
        account.load(entries).map_err(failed)?;
        Ok(account)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("Builder")
            .field("address", &self.address)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
