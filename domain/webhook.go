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
// front, several separated by commas while receivers change from one to the next. Its errors name no secret.
func WebhookKeys(secrets string) ([][]byte, error) {
	if strings.TrimSpace(secrets) == "" {
		return nil, errors.New("is required")
	}
	var keys [][]byte
	for i, text := range strings.Split(secrets, ",") {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(text), webhookSecretPrefix))
		if err != nil {
			return nil, fmt.Errorf("secret %d must be base64, with or without %s in front", i+1, webhookSecretPrefix)
		}
		if len(key) < minWebhookKey {
			return nil, fmt.Errorf("secret %d has %d bytes, needs at least %d", i+1, len(key), minWebhookKey)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
