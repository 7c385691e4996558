package main

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateFiles is a certificate that is read again when its files change.
type certificateFiles struct {
	cert, key string
	log       *slog.Logger

	mu struct {
		sync.Mutex
		loaded *tls.Certificate
		read   [2]time.Time // when the files had changed last
		failed string       // of what the log has been told
	}
}

// get is tls.Config.GetCertificate. When what the files hold now is of no use,
// the certificate that was there before goes on being used: who replaces two files
// replaces one of them first.
func (c *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changed [2]time.Time
	for i, file := range []string{c.cert, c.key} {
		info, err := os.Stat(file)
		if err != nil {
			return c.keep(err)
		}
		changed[i] = info.ModTime()
	}
	if c.mu.loaded != nil && changed == c.mu.read {
		return c.mu.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return c.keep(err)
	}
	if c.mu.loaded != nil {
		c.log.Info("the certificate was read again", "file", c.cert, "until", pair.Leaf.NotAfter)
	}
	c.mu.loaded, c.mu.read, c.mu.failed = &pair, changed, ""
	return c.mu.loaded, nil
}

// keep returns what was loaded before, if anything was. The log is told once of
// each thing that is wrong, not at each handshake.
func (c *certificateFiles) keep(err error) (*tls.Certificate, error) {
	if c.mu.loaded == nil {
		return nil, err
	}
	if c.mu.failed != err.Error() {
		c.mu.failed = err.Error()
		c.log.Warn("the certificate cannot be read again: that from before is used", "file", c.cert, "until", c.mu.loaded.Leaf.NotAfter, "error", err)
	}
	return c.mu.loaded, nil
}

// until is when the certificate ends.
func (c *certificateFiles) until() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.loaded.Leaf.NotAfter
}
