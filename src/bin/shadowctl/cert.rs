//! `cert init`, `cert issue`.

use crate::output::{Failure, Output};
use clap::Subcommand;
use mailshadow::io::cert::{self, Issued};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Cert {
    /// Make a private CA in DIR: ca.pem for every node, ca.key to be kept away from them
    Init {
        /// Folder, made where it is missing
        dir: PathBuf,
    },
    /// Make NAME.pem and NAME.key in DIR for a node, good for two years
    Issue {
        /// Folder with ca.pem and ca.key
        dir: PathBuf,
        /// The node's name, as in node.name of its configuration and in its peers' "peers"
        name: String,
        /// A further host name or IP address of this node; may be given several times
        #[arg(long = "san", value_name = "X")]
        sans: Vec<String>,
    },
}

pub(crate) fn run(cert: &Cert, output: &Output) -> Result<(), Failure> {
    let issued = match cert {
        Cert::Init { dir } => cert::init(dir),
        Cert::Issue { dir, name, sans } => cert::issue(dir, name, sans),
    };
    let issued = issued.map_err(|error| Failure::failed(error.to_string()))?;
    let document = serde_json::json!({ "cert": issued.cert, "key": issued.key });
    output.answer(&document, |_| text(cert, &issued))
}

fn text(cert: &Cert, issued: &Issued) -> String {
    let (pem, key) = (issued.cert.display(), issued.key.display());
    match cert {
        Cert::Init { dir } => format!(
            "made {pem} (copy it to every node) and {key} (keep it away from them)\n\
             next: shadowctl cert issue {} NAME for each node\n",
            dir.display()
        ),
        Cert::Issue { .. } => format!("made {pem} and {key}: they go to that node only, with ca.pem\n"),
    }
}
