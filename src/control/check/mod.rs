//! `shadowctl check`: the configuration and the environment, judged without a daemon.
