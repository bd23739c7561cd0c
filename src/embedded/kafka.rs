//! Apache Kafka as a supervised child process.
