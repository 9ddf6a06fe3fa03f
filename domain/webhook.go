package domain

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	webhookSecretPrefix = "whsec_"
	minWebhookKey       = 24 // bytes; the Standard Webhooks specification wants 24 to 64
)

// WebhookKeys reads the secrets that webhooks are signed with: base64 of 24 bytes at least, with or without whsec_ in
// front, several separated by commas while receivers change from one to the next. What has no whsec_ and is no base64 is
// the key itself. Its errors name no secret.
func WebhookKeys(secrets string) ([][]byte, error) {
	if strings.TrimSpace(secrets) == "" {
		return nil, errors.New("is required")
	}
	var keys [][]byte
	for i, text := range strings.Split(secrets, ",") {
		encoded, prefixed := strings.CutPrefix(strings.TrimSpace(text), webhookSecretPrefix)
		key, err := base64.StdEncoding.DecodeString(encoded)
		switch {
		case err != nil && prefixed:
			return nil, fmt.Errorf("secret %d must have base64 behind %s", i+1, webhookSecretPrefix)
		case err != nil:
			key = []byte(encoded)
		}
		if len(key) < minWebhookKey {
			return nil, fmt.Errorf("secret %d has %d bytes, needs at least %d", i+1, len(key), minWebhookKey)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
