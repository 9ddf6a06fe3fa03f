package configs

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"regexp"
)

var notOfAnID = regexp.MustCompile(`[^A-Za-z0-9_.@#-]+`)

// NewNodeName makes up a name for node.name "": the host's name and six random hex digits, so that two
// instances on one host differ, and so do two lives of one instance. Every call gives another.
func NewNodeName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "hearth"
	}
	host = notOfAnID.ReplaceAllString(host, "-")
	random := make([]byte, 3)
	rand.Read(random) // never fails (crypto/rand)
	suffix := "-" + hex.EncodeToString(random)
	return host[:min(len(host), 64-len(suffix))] + suffix
}
