package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/portlease/portlease/e2e/elbemu"
)

// principalsPath is where clients set principals while the emulator runs. They PUT the
// content of a -principal file to this path followed by the access key. It cannot collide
// with AWS calls, which all go to the root.
const principalsPath = "/principals/"

const maxPrincipal = 1 << 20

// principalFile is the JSON form of a principal.
type principalFile struct {
	ARN    string            `json:"arn"`
	Tags   map[string]string `json:"tags"`
	Policy json.RawMessage   `json:"policy"`
}

func readPrincipal(text []byte) (elbemu.Principal, error) {
	var file principalFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return elbemu.Principal{}, fmt.Errorf("reading the principal (JSON with arn, tags and policy): %w", err)
	}
	return elbemu.Principal{ARN: file.ARN, Tags: file.Tags, Policy: file.Policy}, nil
}

// addPrincipal parses a flag with an access key and a file.
func (o *options) addPrincipal(value string) error {
	key, path, found := strings.Cut(value, "=")
	if !found || key == "" || path == "" {
		return errors.New("write it as access key=file, for example AKIDGAME=game.json")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	who, err := readPrincipal(text)
	if err != nil {
		return err
	}
	o.principals = append(o.principals, restriction{key, who})
	return nil
}

// restriction is an access key and its principal.
type restriction struct {
	key string
	who elbemu.Principal
}

// withPrincipals also serves principalsPath.
func withPrincipals(emulator *elbemu.Emulator, calls http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT "+principalsPath+"{key}", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPrincipal))
		if err == nil {
			var who elbemu.Principal
			if who, err = readPrincipal(text); err == nil {
				err = emulator.Restrict(r.PathValue("key"), who)
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("/", calls)
	return mux
}
