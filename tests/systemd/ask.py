"""Asks a machine's Images API, from inside its network.

    ask.py once AUTH     lists images with a token; exit code 0 if it may
    ask.py on AUTH       lists images again and again until its standard
                         input ends, then prints a line for each failure and
                         how often it has asked

AUTH is the "auth" of a clouds.yaml as JSON. Without libraries: it starts in a
moment.
"""

import json
import select
import sys
import urllib.request


def token_and_endpoint(auth):
    """A token, and where its catalogue has the Images API."""
    domain = {'id': auth['user_domain_id']}
    user = {
        'name': auth['username'],
        'password': auth['password'],
        'domain': domain,
    }
    wanted = {
        'identity': {'methods': ['password'], 'password': {'user': user}},
        'scope': {'project': {'name': auth['project_name'], 'domain': domain}},
    }
    request = urllib.request.Request(
        f'{auth["auth_url"]}/auth/tokens',
        json.dumps({'auth': wanted}).encode(),
        {'Content-Type': 'application/json'},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        catalog = json.load(answer)['token']['catalog']
        token = answer.headers['X-Subject-Token']
    (image,) = (item for item in catalog if item['type'] == 'image')
    return token, image['endpoints'][0]['url']


def list_images(token, endpoint):
    request = urllib.request.Request(
        f'{endpoint}/v2/images', headers={'X-Auth-Token': token}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        json.load(answer)['images']


def main(word, auth):
    token, endpoint = token_and_endpoint(json.loads(auth))
    if word == 'once':
        return list_images(token, endpoint)
    number, failures = 0, []
    while not select.select([sys.stdin], [], [], 0)[0]:
        number += 1
        try:
            list_images(token, endpoint)
        except Exception as error:
            failures.append(f'{number}: {error!r}')
    print(json.dumps({'asked': number, 'failures': failures}))


if __name__ == '__main__':
    main(*sys.argv[1:])
