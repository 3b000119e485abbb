//! HTTP: listen, route, admit, dispatch.
