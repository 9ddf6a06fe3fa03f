package configs

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

const sampleHeader = `# hearth's configuration. Every key is here, with its default; a key that is left out has that default.
# Unknown keys refuse to start. Each key can be set in the environment too, where it wins over this file:
# http.addr is HEARTH_HTTP_ADDR; lists are separated by commas. "hearth config check -c FILE" tells what is wrong.
# Durations are written with their unit: 250ms, 10s, 5m.
`

// placeholder is the secret in hearth.yaml. CheckServe refuses it.
const placeholder = "changeme: hearth config init writes a fresh secret here"

// Sample is a commented file with every key at its default and a fresh random auth.jwt_hmac_secret. What else
// serve needs, redis.addrs and mysql.dsn, is left empty.
func Sample() []byte {
	secret := make([]byte, 48)
	rand.Read(secret) // never fails (crypto/rand)
	return sample(base64.RawURLEncoding.EncodeToString(secret))
}

func sample(jwtSecret string) []byte {
	c := Default()
	c.Auth.JWTHMACSecret = Secret(jwtSecret)
	var b bytes.Buffer
	b.WriteString(sampleHeader)
	for _, s := range sections() {
		b.WriteString("\n")
		s.write(&b, "", func(k key) string {
			field := k.of(&c)
			if shown, ok := field.Interface().(interface{ Reveal() string }); ok {
				field = reflect.ValueOf(shown.Reveal())
			}
			return yamlValue(field)
		}, writeComment)
	}
	return b.Bytes()
}

// Print is the configuration as it is in force, as YAML, with secrets as "***" and no comments.
func (c Config) Print() []byte {
	var b bytes.Buffer
	for _, s := range sections() {
		s.write(&b, "", func(k key) string { return yamlValue(k.of(&c)) }, func(*bytes.Buffer, string, string) {})
	}
	return b.Bytes()
}

// write writes a section and those in it.
func (s section) write(b *bytes.Buffer, indent string, value func(key) string, comment func(b *bytes.Buffer, indent, text string)) {
	comment(b, indent, s.doc)
	b.WriteString(indent + s.name + ":\n")
	for _, k := range s.keys {
		comment(b, indent+"  ", k.doc)
		b.WriteString(indent + "  " + k.name + ": " + value(k) + "\n")
	}
	for _, inner := range s.inner {
		inner.write(b, indent+"  ", value, comment)
	}
}

// writeComment breaks text into lines of about 110 characters.
func writeComment(b *bytes.Buffer, indent, text string) {
	const width = 110
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// yamlValue is a field's value as it stands behind the colon. Secrets are hidden.
func yamlValue(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case Secret:
		return quote(value.String())
	case WebURL:
		return quote(value.String())
	case Duration:
		return value.String()
	case string:
		return quote(value)
	case []string:
		items := make([]string, len(value))
		for i, item := range value {
			items[i] = quote(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(value)
	default:
		return strconv.FormatInt(v.Int(), 10)
	}
}

var plainWord = regexp.MustCompile(`^[a-z]+$`)

// quote leaves the words that no version of YAML takes for something else without quotes.
func quote(s string) string {
	switch s {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return strconv.Quote(s)
	}
	if plainWord.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}
