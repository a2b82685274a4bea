from PROJECT import solve


def test_every_site_knows_the_class_that_it_never_saw():
    assert min(solve()) > 0.9
