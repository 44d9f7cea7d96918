//! The KV cache of a replica: blocks that requests hold, and, with prefix caching, blocks that outlive them.
//!
//! Blocks are counted, not numbered: one is as good as another. With prefix caching a *page*, the blocks of one hash, has
//! an identity. Pages that nobody holds wait in the queue of free blocks, least recently used first and the tail of a
//! request before its head, until their room is wanted.

/// No page, no neighbour, no hash.
const NONE: u32 = u32::MAX;

/// What one request holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// Blocks, those of its pages counted.
    pub blocks: u32,
    /// Its pages, from the head of the request on.
    pages: Vec<u32>,
}

impl Holding {
    /// How many pages it has.
    pub(super) fn pages(&self) -> u32 {
        self.pages.len() as u32
    }
}

/// A page, or a run of free blocks without content worth keeping.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Neighbours in the queue of free blocks.
    previous: u32,
    next: u32,
    blocks: u32,
    /// Its hash; `NONE` for a run.
    hash: u32,
    /// Requests that hold it. Zero: it is in the queue.
    holders: u32,
    /// The next page with the same hash: two requests may have computed the same at the same time.
    twin: u32,
}

/// The cache.
#[derive(Clone, Debug)]
pub(super) struct KvCache {
    total: u32,
    free: u32,
    prefixes: Option<Prefixes>,
}

/// What prefix caching adds.
#[derive(Clone, Debug)]
struct Prefixes {
    /// Blocks of a page.
    span: u32,
    nodes: Vec<Node>,
    unused: Vec<u32>,
    /// The queue of free blocks.
    head: u32,
    tail: u32,
    /// The oldest page of each hash.
    first: Vec<u32>,
}

impl KvCache {
    /// An empty cache of `total` blocks. `pages` turns prefix caching on: blocks of a page, and number of hashes.
    pub(super) fn new(total: u32, pages: Option<(u32, u32)>) -> Self {
        let prefixes = pages.map(|(span, distinct)| {
            let mut prefixes = Prefixes {
                span,
                nodes: Vec::new(),
                unused: Vec::new(),
                head: NONE,
                tail: NONE,
                first: vec![NONE; distinct as usize],
            };
            prefixes.push_run(total);
            prefixes
        });
        Self {
            total,
            free: total,
            prefixes,
        }
    }

    /// Blocks that could be had.
    #[inline]
    pub(super) fn free(&self) -> u32 {
        self.free
    }

    /// Blocks that requests hold.
    pub(super) fn used(&self) -> u32 {
        self.total - self.free
    }

    /// Whether blocks outlive their request.
    pub(super) fn keeps_prefixes(&self) -> bool {
        self.prefixes.is_some()
    }

    /// How many of `hashes`, from the first on, are in the cache.
    pub(super) fn cached_pages(&self, hashes: &[u32]) -> u32 {
        let Some(prefixes) = &self.prefixes else { return 0 };
        hashes
            .iter()
            .take_while(|&&hash| prefixes.first[hash as usize] != NONE)
            .count() as u32
    }

    /// Gives `blocks` more to a request.
    #[inline]
    pub(super) fn take(&mut self, holding: &mut Holding, blocks: u32) {
        self.take_unnamed(blocks);
        holding.blocks += blocks;
    }

    /// Takes `blocks` for requests to be named later.
    #[inline]
    pub(super) fn take_unnamed(&mut self, blocks: u32) {
        debug_assert!(blocks <= self.free, "the KV cache is over-committed");
        self.free -= blocks;
        if let Some(prefixes) = &mut self.prefixes {
            prefixes.take(blocks);
        }
    }

    /// Tries to give a new request the pages of `hits`, which are in the cache, and `blocks` more; `spare` beyond them if
    /// they are there. All or nothing.
    pub(super) fn admit(&mut self, holding: &mut Holding, hits: &[u32], blocks: u32, spare: u32) -> bool {
        let mut idle = 0;
        if let Some(prefixes) = &self.prefixes {
            let waits = |&&hash: &&u32| prefixes.nodes[prefixes.first[hash as usize] as usize].holders == 0;
            idle = hits.iter().filter(waits).count() as u32 * prefixes.span;
        }
        if blocks + idle > self.free {
            return false;
        }
        if let Some(prefixes) = &mut self.prefixes {
            for &hash in hits {
                let page = prefixes.first[hash as usize];
                prefixes.hold(page);
                holding.pages.push(page);
            }
            holding.blocks += hits.len() as u32 * prefixes.span;
            self.free -= idle;
        }
        if blocks > 0 {
            self.take(holding, (blocks + spare).min(self.free));
        }
        true
    }

    /// Puts the pages of a request that are now full under their hashes, so that others find them.
    pub(super) fn publish(&mut self, holding: &mut Holding, full: &[u32]) {
        let Some(prefixes) = &mut self.prefixes else {
            return;
        };
        for &hash in full.iter().skip(holding.pages.len()) {
            let page = prefixes.publish(hash);
            holding.pages.push(page);
        }
    }

    /// Takes everything back from a request.
    pub(super) fn release(&mut self, holding: &mut Holding) {
        if let Some(prefixes) = &mut self.prefixes {
            let loose = holding.blocks - holding.pages.len() as u32 * prefixes.span;
            if loose > 0 {
                prefixes.push_run(loose);
                self.free += loose;
            }
            for page in holding.pages.drain(..).rev() {
                if prefixes.let_go(page) {
                    self.free += prefixes.span;
                }
            }
        } else {
            self.free += holding.blocks;
        }
        holding.blocks = 0;
    }
}

impl Prefixes {
    fn node(&mut self, node: Node) -> u32 {
        if let Some(index) = self.unused.pop() {
            self.nodes[index as usize] = node;
            return index;
        }
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    fn push_back(&mut self, index: u32) {
        self.nodes[index as usize].previous = self.tail;
        self.nodes[index as usize].next = NONE;
        match self.tail {
            NONE => self.head = index,
            tail => self.nodes[tail as usize].next = index,
        }
        self.tail = index;
    }

    fn unlink(&mut self, index: u32) {
        let Node { previous, next, .. } = self.nodes[index as usize];
        match previous {
            NONE => self.head = next,
            previous => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.tail = previous,
            next => self.nodes[next as usize].previous = previous,
        }
    }

    /// Appends free blocks without content.
    fn push_run(&mut self, blocks: u32) {
        if self.tail != NONE && self.nodes[self.tail as usize].hash == NONE {
            self.nodes[self.tail as usize].blocks += blocks;
            return;
        }
        let run = self.node(Node {
            previous: NONE,
            next: NONE,
            blocks,
            hash: NONE,
            holders: 0,
            twin: NONE,
        });
        self.push_back(run);
    }

    /// Takes blocks from the front of the queue; a page that loses one loses its content.
    fn take(&mut self, mut blocks: u32) {
        while blocks > 0 {
            let index = self.head;
            if self.nodes[index as usize].hash != NONE {
                self.forget(index);
            }
            let node = &mut self.nodes[index as usize];
            let taken = node.blocks.min(blocks);
            node.blocks -= taken;
            blocks -= taken;
            if node.blocks == 0 {
                self.unlink(index);
                self.unused.push(index);
            }
        }
    }

    /// Turns a page into a run.
    fn forget(&mut self, index: u32) {
        let Node { hash, twin, .. } = self.nodes[index as usize];
        let first = self.first[hash as usize];
        if first == index {
            self.first[hash as usize] = twin;
        } else {
            let mut before = first;
            while self.nodes[before as usize].twin != index {
                before = self.nodes[before as usize].twin;
            }
            self.nodes[before as usize].twin = twin;
        }
        let node = &mut self.nodes[index as usize];
        node.hash = NONE;
        node.twin = NONE;
    }

    fn publish(&mut self, hash: u32) -> u32 {
        let page = self.node(Node {
            previous: NONE,
            next: NONE,
            blocks: self.span,
            hash,
            holders: 1,
            twin: NONE,
        });
        match self.first[hash as usize] {
            NONE => self.first[hash as usize] = page,
            mut last => {
                while self.nodes[last as usize].twin != NONE {
                    last = self.nodes[last as usize].twin;
                }
                self.nodes[last as usize].twin = page;
            }
        }
        page
    }

    fn hold(&mut self, page: u32) {
        if self.nodes[page as usize].holders == 0 {
            self.unlink(page);
        }
        self.nodes[page as usize].holders += 1;
    }

    /// Whether nobody holds it any more; it then waits in the queue.
    fn let_go(&mut self, page: u32) -> bool {
        let node = &mut self.nodes[page as usize];
        node.holders -= 1;
        if node.holders > 0 {
            return false;
        }
        self.push_back(page);
        true
    }
}
