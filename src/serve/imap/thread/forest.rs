//! Trees of messages, and how THREAD writes them. Nothing here recurses: a thread may be as deep as its mailbox is long.

/// Nodes by number; a node may stand for a message that isn't there.
pub(super) struct Forest {
    messages: Vec<Option<u32>>,
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
}

/// What is written next.
enum Step {
    Node(usize),
    Text(&'static str),
}

impl Forest {
    /// Nodes without relations, as the answer names them.
    pub(super) fn new(messages: impl Iterator<Item = Option<u32>>) -> Self {
        let messages: Vec<_> = messages.collect();
        Self {
            parents: vec![None; messages.len()],
            children: vec![Vec::new(); messages.len()],
            roots: Vec::new(),
            messages,
        }
    }

    /// Adds a node that stands for no message.
    pub(super) fn add_dummy(&mut self) -> usize {
        self.messages.push(None);
        self.parents.push(None);
        self.children.push(Vec::new());
        self.messages.len().saturating_sub(1)
    }

    pub(super) fn message(&self, node: usize) -> Option<u32> {
        self.messages.get(node).copied().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn parent(&self, node: usize) -> Option<usize> {
        self.parents.get(node).copied().flatten()
    }

    pub(super) fn children(&self, node: usize) -> &[usize] {
        self.children.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn roots(&self) -> &[usize] {
        &self.roots
    }

    /// Makes a node a root, the last one.
    pub(super) fn plant(&mut self, node: usize) {
        self.roots.push(node);
    }

    /// Makes the nodes the roots, in this order.
    pub(super) fn replant(&mut self, roots: Vec<usize>) {
        self.roots = roots;
    }

    /// True where `node` is `ancestor` or below it.
    pub(super) fn is_below(&self, node: usize, ancestor: usize) -> bool {
        if self.children(ancestor).is_empty() {
            return node == ancestor;
        }
        let mut at = Some(node);
        while let Some(node) = at {
            if node == ancestor {
                return true;
            }
            at = self.parent(node);
        }
        false
    }

    /// Puts `child`, which must not have `parent` below it, under `parent` as its last child.
    pub(super) fn adopt(&mut self, parent: usize, child: usize) {
        self.orphan(child);
        if let (Some(children), Some(slot)) = (self.children.get_mut(parent), self.parents.get_mut(child)) {
            children.push(child);
            *slot = Some(parent);
        }
    }

    /// Takes a node, with what is below it, from its parent.
    pub(super) fn orphan(&mut self, child: usize) {
        let Some(parent) = self.parents.get_mut(child).and_then(Option::take) else {
            return;
        };
        if let Some(siblings) = self.children.get_mut(parent) {
            siblings.retain(|node| *node != child);
        }
    }

    /// Takes all children from a node.
    pub(super) fn take_children(&mut self, node: usize) -> Vec<usize> {
        let children = self.children.get_mut(node).map(std::mem::take).unwrap_or_default();
        for child in &children {
            if let Some(parent) = self.parents.get_mut(*child) {
                *parent = None;
            }
        }
        children
    }

    /// Puts the children of every node in order.
    pub(super) fn sort_children<K: Ord>(&mut self, key: impl Fn(usize) -> K) {
        for children in &mut self.children {
            children.sort_by_key(|child| key(*child));
        }
    }

    /// Nodes of the trees, each before those below it.
    pub(super) fn walk(&self) -> Vec<usize> {
        let mut walked = Vec::new();
        let mut open: Vec<usize> = self.roots.iter().rev().copied().collect();
        while let Some(node) = open.pop() {
            walked.push(node);
            open.extend(self.children(node).iter().rev());
        }
        walked
    }

    /// `(1)(2 3 (4)(5 6))`
    pub(super) fn write(&self) -> String {
        let mut out = String::new();
        let mut steps: Vec<Step> = Vec::new();
        let tree = |steps: &mut Vec<Step>, node| {
            steps.push(Step::Text(")"));
            steps.push(Step::Node(node));
            steps.push(Step::Text("("));
        };
        for root in self.roots.iter().rev() {
            tree(&mut steps, *root);
        }
        while let Some(step) = steps.pop() {
            let node = match step {
                Step::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Step::Node(node) => node,
            };
            let message = self.message(node);
            if let Some(number) = message {
                out.push_str(&number.to_string());
            }
            match self.children(node) {
                [] => {}
                [only] => {
                    steps.push(Step::Node(*only));
                    if message.is_some() {
                        steps.push(Step::Text(" "));
                    }
                }
                several => {
                    for child in several.iter().rev() {
                        tree(&mut steps, *child);
                    }
                    if message.is_some() {
                        steps.push(Step::Text(" "));
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_as_deep_as_its_mailbox_is_written() {
        let mut forest = Forest::new((1..=100_000).map(Some));
        forest.plant(0);
        for node in 1..100_000 {
            forest.adopt(node - 1, node);
        }
        let text = forest.write();
        assert!(text.starts_with("(1 2 3 ") && text.ends_with(" 99999 100000)"));
        assert_eq!(forest.walk().len(), 100_000);
    }

    #[test]
    fn siblings_stand_in_parentheses_also_below_a_missing_message() {
        let mut forest = Forest::new([1, 2, 3, 4].into_iter().map(Some));
        let dummy = forest.add_dummy();
        forest.plant(dummy);
        forest.adopt(dummy, 0);
        forest.adopt(dummy, 1);
        forest.adopt(1, 2);
        forest.adopt(1, 3);
        assert_eq!(forest.write(), "((1)(2 (3)(4)))");
        assert!(forest.is_below(3, dummy) && !forest.is_below(0, 1));
    }
}
