//! The Dovecot parsers against stores that real Dovecots wrote.

mod bodies;
mod damage;
mod final_state;
mod resets;
mod tailing;
mod vector;
