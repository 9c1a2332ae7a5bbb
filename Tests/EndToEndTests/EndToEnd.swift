import TestSupport
import Testing

/// The whole flow, from files to files.
@Suite(.oneAtATime) enum EndToEnd {}
