package configs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"strings"
)

// APIKey is one line of auth.api_keys, or of console.keys.
type APIKey struct {
	ID     string // stands as operator in what is sent with it
	SHA256 [sha256.Size]byte
}

var errAPIKey = errors.New("must be <id>:<SHA-256 of the key, 64 hex digits>, as `hearth keys new` prints it")

// ParseAPIKey reads such a line. The error does not repeat the line.
func ParseAPIKey(line string) (APIKey, error) {
	id, sum, ok := strings.Cut(line, ":")
	if !ok || !validID(id) || len(sum) != 2*sha256.Size {
		return APIKey{}, errAPIKey
	}
	key := APIKey{ID: id}
	if _, err := hex.Decode(key.SHA256[:], []byte(sum)); err != nil {
		return APIKey{}, errAPIKey
	}
	return key, nil
}

// Keys is api_keys, read. It fails only for a configuration that Load has not checked.
func (a Auth) Keys() ([]APIKey, error) { return parseAPIKeys(a.APIKeys) }

// ReadKeys is keys, read. It fails only for a configuration that Load has not checked.
func (c Console) ReadKeys() ([]APIKey, error) { return parseAPIKeys(c.Keys) }

func parseAPIKeys(lines []string) ([]APIKey, error) {
	keys := make([]APIKey, 0, len(lines))
	for _, line := range lines {
		key, err := ParseAPIKey(line)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_.@#-]{1,64}$`)

// validID reports whether s is an id of the protocol.
func validID(s string) bool { return idPattern.MatchString(s) }
