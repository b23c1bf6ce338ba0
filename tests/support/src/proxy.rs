//! The built-in proxy on a node of its own, an observer, before the nodes of a pair.

use crate::Result;
use crate::node::{Node, Pki, Programs};
use crate::ports;
use std::path::Path;

const NAME: &str = "proxy-1";

/// A node without groups whose `[[proxy]]` leads to whichever of `services` (node, its port for clients) is primary, and
/// the port that clients use. Lets it ask by a line in the configurations of those nodes, which don't run yet; nor does it.
pub fn observer(
    programs: &Programs,
    pki: &Pki,
    folder: &Path,
    services: &[(&Node, u16)],
    lines: &str,
) -> Result<(Node, u16)> {
    pki.issue(programs, NAME)?;
    for (node, _) in services {
        let text = std::fs::read_to_string(node.config())?;
        let asked = text.replacen("[tls]", &format!("observers = [\"{NAME}\"]\n[tls]"), 1);
        std::fs::write(node.config(), asked)?;
    }
    let proxy = Node::new(programs, &folder.join(NAME), NAME)?;
    let port = ports::free();
    let table = |of: &dyn Fn(&(&Node, u16)) -> String| services.iter().map(of).collect::<Vec<_>>().join(", ");
    let keys = format!(
        "[[proxy]]\ngroup = \"main\"\nlisten = \"127.0.0.1:{port}\"\nnodes = {{ {} }}\ncontrol = {{ {} }}\n{lines}",
        table(&|(node, port)| format!("{} = \"127.0.0.1:{port}\"", node.name())),
        table(&|(node, _)| format!("{} = \"{}\"", node.name(), node.address())),
    );
    proxy.configure_without_groups(pki, &keys)?;
    Ok((proxy, port))
}
