//! Projects on object stores: the store's contract, races, faults of the network, errors that a user can act on, tables
//! in parts, and jobs.

/// Makes tests of functions that take a server: a module of them per server.
macro_rules! on_server {
    ($module:ident, $server:ident: $($test:ident),+ $(,)?) => {
        mod $module {
            $(
                #[test]
                fn $test() {
                    super::$test(crate::server::Server::$server);
                }
            )+
        }
    };
}

#[cfg(feature = "cluster")]
mod apply;
mod contract;
mod errors;
mod faults;
mod generations;
mod parts;
mod proxy;
mod races;
mod server;
mod versions;
